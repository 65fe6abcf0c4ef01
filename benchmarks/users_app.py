"""A FastAPI app whose route `fastapi-users` guards, set up as its documentation says for tokens in a database.

From the extra `bench`: https://fastapi-users.github.io/fastapi-users/latest/configuration/authentication/strategies/database
"""

# No postponed annotations here: FastAPI reads the signatures of functions that exist only inside another one.

import secrets
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin
from fastapi_users.authentication import AuthenticationBackend, BearerTransport
from fastapi_users.authentication.strategy.db import AccessTokenDatabase, DatabaseStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import SQLAlchemyAccessTokenDatabase, SQLAlchemyBaseAccessTokenTableUUID
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_LIFETIME = 3600


class Base(DeclarativeBase):
    """The tables."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """A user, as the library wants them."""


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    """A token and whose it is."""


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """Nothing happens when users come and go."""


async def fill(database: str, users: int) -> list[str]:
    """Make the tables and so many users, each with a token; returns the tokens."""
    engine = _engine(database)
    people = [
        {
            "id": uuid.uuid4(),
            "email": f"user{number}@example.com",
            "hashed_password": "-",
            "is_active": True,
            "is_superuser": False,
            "is_verified": True,
        }
        for number in range(users)
    ]
    now = datetime.now(UTC)
    tokens = [{"token": secrets.token_urlsafe(), "user_id": person["id"], "created_at": now} for person in people]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(User), people)
        await connection.execute(insert(AccessToken), tokens)
    await engine.dispose()
    return [str(token["token"]) for token in tokens]


def build(database: str) -> FastAPI:
    """The app; `/search` is for those whose token holds."""
    engine = _engine(database)
    current_user = _users(engine).current_user(active=True)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.get("/search", response_class=PlainTextResponse)
    async def search(user: Annotated[User, Depends(current_user)]) -> str:
        return "hello"

    return app


def _users(engine: AsyncEngine) -> FastAPIUsers[User, uuid.UUID]:
    session_maker = async_sessionmaker(engine, expire_on_commit=False)

    async def get_session() -> AsyncGenerator[AsyncSession]:
        async with session_maker() as session:
            yield session

    async def get_user_db(session: Annotated[AsyncSession, Depends(get_session)]) -> AsyncGenerator[Any]:
        yield SQLAlchemyUserDatabase(session, User)

    async def get_tokens(session: Annotated[AsyncSession, Depends(get_session)]) -> AsyncGenerator[Any]:
        yield SQLAlchemyAccessTokenDatabase(session, AccessToken)

    async def get_user_manager(user_db: Annotated[Any, Depends(get_user_db)]) -> AsyncGenerator[UserManager]:
        yield UserManager(user_db)

    def get_strategy(tokens: Annotated[AccessTokenDatabase[AccessToken], Depends(get_tokens)]) -> Any:
        return DatabaseStrategy(tokens, lifetime_seconds=_LIFETIME)

    transport = BearerTransport(tokenUrl="login")
    backend = AuthenticationBackend(name="database", transport=transport, get_strategy=get_strategy)
    return FastAPIUsers[User, uuid.UUID](get_user_manager, [backend])


def _engine(database: str) -> AsyncEngine:
    scheme, _, rest = database.partition(":")
    return create_async_engine(f"{_DRIVERS[scheme]}:{rest}")
