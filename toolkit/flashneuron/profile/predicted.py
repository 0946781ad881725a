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


def unpredictable(session: Session) -> str | None:
    """Why nothing can be predicted on the session's device."""
    if session.curve is None or not session.curve.of_flash:
        return "the device was not probed (flashneuron probe)"
    return None if session.package.with_role("trace") else "the package has no activation trace"


def ran_before(session: Session, known: Mapping[str, Any]) -> bool:
    """Whether the device with the conditions `known` has run this package, so that its computing is known."""
    identity = session.package_ref().sha256
    return any(seen.package == identity for seen in read_rates(known).observations)


def predict_points(
    session: Session, known: Mapping[str, Any], points: Sequence[RunSettings]
) -> dict[RunSettings, Predicted]:
    """By point, on the device with the conditions `known`. A point that the runner refuses, or that reads every weight,
    has no prediction, nor one with a draft, since a trace does not say what is accepted, or whose budget may change.
    Precondition: the session is not unpredictable.
    """
    assert session.curve is not None
    target = Target(session.device, session.curve, read_rates(known), int(known.get("cores") or 1))
    identity, found = session.package_ref().sha256, dict[RunSettings, Predicted]()
    for point in dict.fromkeys(each for each in points if _steady(each)):
        try:
            made = predict(session.package, identity, session.runner, session.place, target, point)
        except FlashneuronError:  # too small a budget, or naive: the run says so, or is measured all the same
            continue
        found[point] = _record(made)
    return found


def _steady(point: RunSettings) -> bool:
    return point.draft is None and point.ram_at is None and point.follow_memory is None


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
