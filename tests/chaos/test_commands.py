"""The commands that are killed do their work when nobody disturbs them."""

from __future__ import annotations

import pytest
from one_step_commands import COMMANDS, one_step_command


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return tmp_path_factory.mktemp("chaos") / "inputs"


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_not_killed_leaves_a_whole_output(name, inputs, tmp_path):
    command = one_step_command(name, inputs)
    command.begin(tmp_path)
    assert command.run(tmp_path) == 0
    assert command.whole(tmp_path)
