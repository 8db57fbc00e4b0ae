"""Files made from the templates in `ser_keras/templates`."""

from typing import Any

import jinja2


def render(template: str, **facts: Any) -> bytes:
    """Render a template as UTF-8.

    In a template whose name ends in ``.html`` every fact is escaped. Bytes of file names that are not UTF-8 become
    escapes.

    Raises:
        jinja2.UndefinedError: the template needs a fact that is not given.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ser_keras"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(facts).encode(errors="backslashreplace")
