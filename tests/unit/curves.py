"""Flash curves of devices that follow a rule."""

from __future__ import annotations

from flashneuron.profile.flash_curve import BurstPoint


def bursts(wall_us: int = 100, lost_us: int = 10) -> list[BurstPoint]:
    """A burst takes `wall_us` for each 8 reads begun, and loses `lost_us` a read, whatever their size and workers."""
    return [
        BurstPoint(
            read_bytes=size, threads=threads, reads=reads, bursts=10, wall_us=wall_us * max(1, reads // 8),
            lost_us=lost_us * reads,
        )
        for size in (4096, 65536)
        for threads in (1, 8, 32)
        for reads in (1, 8, 64)
    ]  # fmt: skip
