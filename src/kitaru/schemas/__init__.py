"""Types of answers as JSON Schema, and answers as JSON: declared, checked, typed and described.

What a wait asks for is kept as JSON Schema and its answer as JSON, so that anyone may answer without the
flow's code. Nothing here knows waits, stores or terminals. pydantic and jsonschema are loaded when the
first type or answer comes, never by `import kitaru`.
"""

from __future__ import annotations

from kitaru.schemas.checking import check_answer, find_problems, listed, shaped_like, typed
from kitaru.schemas.declaring import schema_of, to_json
from kitaru.schemas.describing import describe
from kitaru.schemas.form import Field, Form, FormKind, fields, form_of

__all__ = [
    "Field",
    "Form",
    "FormKind",
    "check_answer",
    "describe",
    "fields",
    "find_problems",
    "form_of",
    "listed",
    "schema_of",
    "shaped_like",
    "to_json",
    "typed",
]
