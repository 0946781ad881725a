"""What a device's store holds, as a table and as JSON."""

from __future__ import annotations

from flashneuron.device.packages import Store
from flashneuron.report.table import text_table
from flashneuron.units import format_bytes


def store_table(store: Store, device: str) -> str:
    rows = [
        (p.name, p.short_identity, str(len(p.objects)), format_bytes(p.total_bytes),
         format_bytes(sum(store.only_of(p).values())), p.state)
        for p in store.packages
    ]  # fmt: skip
    blocks = [text_table(("package", "id", "files", "size", "frees", "state"), rows)] if rows else []
    if store.unused:
        size = format_bytes(sum(store.unused.values()))
        blocks.append(
            f"{size} in {len(store.unused)} files that no package needs: flashneuron packages remove --unused"
        )
    return "\n\n".join(blocks) or f"no packages on {device}; put one there: flashneuron push PKG"


def store_json(store: Store) -> dict[str, object]:
    packages = [
        {"id": p.identity, "name": p.name, "files": len(p.objects), "bytes": p.total_bytes,
         "own_bytes": sum(store.only_of(p).values()), "missing": p.missing, "defect": p.defect}
        for p in store.packages
    ]  # fmt: skip
    return {"packages": packages, "unused_bytes": sum(store.unused.values()), "unused_files": len(store.unused)}
