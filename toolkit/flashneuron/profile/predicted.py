"""What the cost model says of the points of a profile, before the first of them is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flashneuron.errors import FlashneuronError
from flashneuron.profile.plan import Prediction, Target, predict
from flashneuron.profile.rates import add_rates, observe, read_rates
from flashneuron.profile.run_file import Predicted, Run
from flashneuron.profile.session import Session
from flashneuron.profile.settings import RunSettings
from flashneuron.progress import Progress


def predict_points(
    session: Session, known: Mapping[str, Any], points: Sequence[RunSettings], progress: Progress
) -> dict[RunSettings, Predicted]:
    """By point, on the device with the conditions `known`; empty, with a note that says why, where nothing can be
    predicted. A point that the runner refuses has no prediction.
    """
    why = ""
    if session.curve is None or not session.curve.of_flash:
        why = "the device was not probed (flashneuron probe)"
    elif not session.package.with_role("trace"):
        why = "the package has no activation trace"
    if why or session.curve is None:
        progress.note(f"nothing is predicted: {why}")
        return {}
    target = Target(session.device, session.curve, read_rates(known), int(known.get("cores") or 1))
    identity, found = session.package_ref().sha256, dict[RunSettings, Predicted]()
    for point in dict.fromkeys(points):
        try:
            made = predict(session.package, identity, session.runner, session.place, target, point)
        except FlashneuronError:  # too small a budget, or naive: the run says so, or is measured all the same
            continue
        found[point] = _record(made)
    return found


def learn(session: Session, run: Run) -> None:
    """Later predictions for the device go by what this run took to compute."""
    add_rates(run.conditions_before, observe(run, session.package))


def _record(made: Prediction) -> Predicted:
    return Predicted(
        wall_us=made.cost.wall_us,
        stall_us=made.cost.stall_us,
        compute_us=made.cost.compute_us,
        requests=made.requests,
        bytes_read=made.bytes_read,
        hit_rate=made.replayed.hit_rate,
        basis=made.basis,
    )
