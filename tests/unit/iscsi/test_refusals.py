"""Which refusals of a device mean "this command is not implemented here", and which are failures."""

from __future__ import annotations

import dataclasses

import pytest

from chalicelib.errors import CheckCondition
from tests.unit.iscsi.conftest import connect
from tests.unit.iscsi.fake_disk import Disk, Outcome, sense
from tests.unit.iscsi.fake_target import Double


@pytest.mark.parametrize('code', [0x2000, 0x2400, 0x2600])
def test_a_device_without_synchronize_cache_has_no_volatile_cache(double: Double, code: int) -> None:
    with connect(double) as device:
        double.outcomes.append(sense(5, code))
        device.flush()


@pytest.mark.parametrize('code', [0x2500, 0x2100, 0x3900])
def test_a_flush_that_failed_is_not_taken_for_one_that_is_not_needed(double: Double, code: int) -> None:
    """The LUN may have gone with the data that its cache held."""
    with connect(double) as device:
        double.outcomes.append(sense(5, code))
        with pytest.raises(CheckCondition, match='ILLEGAL REQUEST'):
            device.flush()


@pytest.mark.parametrize('code', [0x2500, 0x2100])
def test_a_deallocation_that_failed_is_not_followed_by_another_command(double: Double, code: int) -> None:
    with connect(double) as device:
        double.outcomes.append(sense(5, code))
        with pytest.raises(CheckCondition, match='ILLEGAL REQUEST'):
            device.zero(0, 4096)


#: Invalid field in the command.
UNKNOWN = sense(5, 0x2400)


@dataclasses.dataclass
class WithoutPages(Disk):
    """Answers every INQUIRY for vital product data with one sense."""

    answer: Outcome = UNKNOWN

    def carry_out(self, cdb: bytes, data: bytes) -> tuple[Outcome, bytes]:
        return (self.answer, b'') if cdb[0] == 0x12 and cdb[1] & 1 else super().carry_out(cdb, data)


def test_a_device_without_vital_product_data_is_taken() -> None:
    with Double(WithoutPages()) as target, connect(target) as device:
        assert device.size


@pytest.mark.parametrize('answer', [sense(3, 0x1100), sense(4, 0x4400), sense(5, 0x2500)])
def test_a_device_that_fails_to_describe_itself_is_refused(answer: Outcome) -> None:
    """Without its serial number another unit could be taken for it after a reconnect."""
    with Double(WithoutPages(answer=answer)) as target, pytest.raises(CheckCondition):
        connect(target)
