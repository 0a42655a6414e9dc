"""A flow's settings: a class of its own, overridable by environment and by ``--set``."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Settings of a flow: its fields are read from the environment and checked by pydantic.

        class Limits(hw.Settings):
            threshold: float = -15.0

        flow = hw.Flow("cold-chain", settings=Limits)

    An operator that has a parameter annotated with the class gets the instance. A field is set, in
    rising order of strength, by its default, by the environment variable ``HEADWATER_<FIELD>``
    (or the class's own ``model_config``), and by ``headwater run --set field=value``.
    """

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", extra="forbid")
