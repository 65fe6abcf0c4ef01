"""Templates to HTML, everything in them escaped. Jinja2 is asked for when the first page is rendered."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kavach_core.errors import ConfigurationError
from kavach_core.pages.assets import assets

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> bytes:
    """The page of a template. Raises `ConfigurationError` where Jinja2 is not installed."""
    return _environment().get_template(template).render(values, asset=_asset_url).encode()


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise ConfigurationError("The pages need Jinja2: pip install 'kavach-asgi[pages]'.") from None
    return Environment(
        loader=PackageLoader("kavach_core.pages"),
        # For every name: a template whose name ends in something else is no less HTML.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset_url(name: str) -> str:
    return assets()[name].url
