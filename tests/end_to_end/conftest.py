"""The session's materialised home, as the tests of the pipeline have it."""

from tests.pipeline.conftest import base, clone

__all__ = ["base", "clone"]
