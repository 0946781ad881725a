"""Why this machine cannot emulate a phone."""

from flashneuron.errors import DeviceError


class EmulatorUnavailable(DeviceError):
    """No phone can be emulated here (no root, not Debian, no network for the first start)."""

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot emulate a phone here: {why}; use --device host")
