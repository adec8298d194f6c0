"""Notebook 10: the family, the floors, the demos, the template as a person runs and copies it."""

import re
import runpy
import sys

import numpy as np
import pytest
import torch

from course_lib.chapters.your_own import hillside, solutions, template, which_method
from course_lib.chapters.your_own.experiments import hills
from course_lib.kit.demo import check


def test_the_parts_of_the_map_are_real_heights_and_do_not_overlap():
    parts = template.load_map()
    assert sum(region.shape[1] for region in parts.values()) == 403
    heights = torch.cat(list(parts.values()), 1)
    assert 200 < heights.min() < heights.max() < 1100  # metres


def test_a_square_is_what_the_notebooks_exercise_makes_of_it():
    region, generator = template.load_map()["train"], torch.Generator().manual_seed(0)
    batch = template.Hills(region, shots=4, queries=3).sample(5, generator=generator)
    assert batch.support_x.shape == (5, 4, 2) and batch.query_y.shape == (5, 3, 1)
    torch.testing.assert_close(batch.support_y.mean(1), torch.zeros(5, 1), rtol=0, atol=1e-5)
    generator.manual_seed(0)
    rows, columns = (torch.randint(side - 24, (5, 1), generator=generator) for side in region.shape)
    place = torch.rand(5, 7, 2, generator=generator)
    down, right = (place * 24).long().unbind(-1)
    expected = solutions.batch(place, region[rows + down, columns + right], 4)
    torch.testing.assert_close(batch.query_x, expected.query_x)
    torch.testing.assert_close(batch.query_y, expected.query_y)


def test_the_floors():
    batch = template.Hills(template.load_map()["test"]).sample(6, generator=torch.Generator().manual_seed(0))
    nearest = template.nearest_point(batch)
    for task, query in ((0, 0), (5, 19)):
        away = (batch.support_x[task] - batch.query_x[task, query]).norm(dim=1)
        assert nearest[task, query] == batch.support_y[task, away.argmin()]
    assert template.support_mean(batch).abs().max() < 1e-5
    at_the_points = type(batch)(batch.support_x, batch.support_y, batch.support_x, batch.support_y)
    rough = hillside.gaussian_process(at_the_points, 1e-3)  # no point tells of another
    torch.testing.assert_close(rough, batch.support_y / (1 + hillside.NOISE))


def test_demos_at_every_end():
    check(hillside.demo())
    check(which_method.demo())


def test_more_points_keep_the_first_ones():
    few, many = hillside.square(3, 5)[1], hillside.square(3, 20)[1]
    assert torch.equal(few.support_x, many.support_x[:, :5])


def test_the_rates_are_chosen_where_nothing_is_judged():
    for method in hills.METHODS:
        scores = {
            rate: np.median([row["validation"] for row in hills.runs.rows(method=method, outer_lr=rate)])
            for rate in hills.OUTER_LRS
        }
        assert hills.chosen(method) == min(scores, key=scores.get)


@pytest.mark.parametrize("method", template.METHODS)
def test_the_template_runs(method, capsys, tmp_path):
    small = ["--method", method, "--iterations", "2", "--seeds", "2", "--test-tasks", "20"]
    assert template.main([*small, "--out", str(tmp_path / "net")]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(rf"{method} seed \d  \d\.\d+ \+- \d\.\d+", said)) == 2
    assert re.search(r"ahead of the nearest point in \d of 2 seeds", said)
    assert (tmp_path / "net.safetensors").exists()


def test_its_copy_runs_alone_and_is_not_written_over(tmp_path, capsys, monkeypatch):
    copy = tmp_path / "my_tasks.py"
    assert template.main(["--copy", str(copy)]) == 0
    monkeypatch.setattr(sys, "argv", [str(copy), "--iterations", "1", "--seeds", "1", "--test-tasks", "5"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(copy), run_name="__main__")
    assert ended.value.code == 0 and "in 1 of 1 seeds" in capsys.readouterr().out.replace("0 of 1", "1 of 1")
    with pytest.raises(SystemExit):
        template.main(["--copy", str(copy)])
    assert "is there already" in capsys.readouterr().err
