"""`bncore info --plan SHAPE`: what was chosen, and why, in words and as JSON."""

from __future__ import annotations

import pytest

from .conftest import Command

native = pytest.mark.usefixtures("native")


@native
def test_text_gives_every_choice_its_reason(call: Command) -> None:
    done = call("info", "--plan", "64x256x14x14", "--threads", "1")
    assert done.code == 0, done.err
    text = done.out
    for op in ("forward", "evaluation", "backward"):
        assert f"\n{op}\n" in text
    assert "16384 slabs of 196 values" in text
    assert "x of 12.8 MB, between 2.1 MB and 33.6 MB" in text
    assert "25.7 MB read and written" in text
    assert "no more are allowed" in text


@native
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["1000x8"], ["8 rows of 8 joined", "rows of 64 values", "1 per column"]),
        (["4096x512"], ["rows of 512 values", "a row has all channels"]),
        (["32x16x28x28", "--axis", "-1"], ["3 rows of 28 joined", "rows of 84 values"]),
        (["2x3x1000x1000"], ["in the order of memory: 3 channels < 8"]),
        (["9x16x1000x1000"], ["9000000 values a channel > 4194304"]),
        (["16x32x8x8"], ["whole channels", "x of 131 KB <= 2.1 MB"]),
        (["64x256x56x56"], ["whole channels", "x of 206 MB >= 33.6 MB"]),
        (["64x1x8x8"], ["one channel is one slab", "slabs of 4096 values"]),
        (["64,8,3"], ["slabs of 3 are shorter than 16"]),
    ],
)
def test_kinds_of_shapes(call: Command, argv: list[str], words: list[str]) -> None:
    done = call("info", "--plan", *argv)
    assert done.code == 0, done.err
    assert [word for word in words if word not in done.out] == []


@native
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["4096x64"], ["32 chunks of 128 rows", "32 rows measured", "8192 values a chunk"]),
        (["16x256x768", "--threads", "1"], ["410 chunks of 10 rows", "no more are allowed"]),
        (["4x1000000"], ["4 rows, 31 pieces of 32768", ">= 131072, and only 4 rows"]),
        (["40x200000", "--op", "forward"], ["40 chunks of 1 row", "1 row measured"]),
        (["40x200000", "--op", "backward"], ["40 rows, 7 pieces"]),
        (["1000003x33"], ["rows neither whole lines nor 2048 bytes long"]),
        (["100000x1024"], ["past the caches", "> 3/4 of"]),
    ],
)
@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_rows(call: Command, norm: str, argv: list[str], words: list[str]) -> None:
    done = call("info", "--plan", *argv, "--norm", norm)
    assert done.code == 0, done.err
    assert f"{norm} norm over axis" in done.out
    assert [word for word in words if word not in done.out] == []


@native
@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["64x32", "--axis", "0"], "--axis"),
        (["64x32", "--op", "evaluation"], "--op"),
        (["64x32", "--residual"], "--residual"),
    ],
)
def test_what_rows_have_not(call: Command, argv: list[str], word: str) -> None:
    done = call("info", "--plan", *argv, "--norm", "layer")
    assert done.code == 2
    assert word in done.err and len(done.err.splitlines()) == 1


@native
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["8x64x32x32"], ["1 sample x 8 groups", "16 of 1 sample", "4096 values >= 32"]),
        (["9000x64"], ["512 samples x 16 groups", "turned, many at a time", "rows of 64 values"]),
        (["8x512x7x7"], ["25088 values <= 32768", "x 1 of groups", "slabs of 49 values"]),
        (["2x16x500x500"], ["one group has 250000 values > 32768", "250000 values >= 98304"]),
        (["2x16x700x700"], ["32 of 1 sample x 1 group", "15 chunks each time"]),
        (["2x500x500x32", "--axis", "-1"], ["of channels, merged, 64 chunks each time"]),
        (["8x32x32x64", "--axis", "-1"], ["of channels, merged", "channels interleaved"]),
        (["8x32x32x16", "--axis", "-1"], ["a group is one channel", "by batch norm's op"]),
        (["8x64x32x32", "--threads", "1"], ["no more are allowed"]),
    ],
)
def test_groups(call: Command, argv: list[str], words: list[str]) -> None:
    done = call("info", "--plan", *argv, "--norm", "group", "--groups", "16")
    assert done.code == 0, done.err
    assert "group norm of 16 groups, channels on axis" in done.out
    assert [word for word in words if word not in done.out] == []


@native
def test_an_instance_is_a_group_of_one_channel(call: Command) -> None:
    instance = call("info", "--plan", "8x64x32x32", "--norm", "instance", "--json").json
    group = call("info", "--plan", "8x64x32x32", "--norm", "group", "--groups", "64", "--json").json
    assert instance["groups"] == group["groups"] == 64
    assert instance["plans"] == group["plans"]


@native
@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["group"], "--groups is missing"),
        (["group", "--groups", "5"], "--groups must divide the 32 channels"),
        (["group", "--groups", "4", "--axis", "0"], "--axis"),
        (["group", "--groups", "4", "--op", "evaluation"], "evaluates by its forward"),
        (["group", "--groups", "4", "--residual"], "--residual"),
        (["instance", "--groups", "32"], "--groups is for --norm group"),
        (["instance", "--op", "evaluation"], "--norm batch"),
        (["instance"], "more than one value per instance"),
        (["batch", "--groups", "4"], "--groups is for --norm group"),
        (["layer", "--groups", "4"], "--groups is for --norm group"),
    ],
)
def test_what_groups_have_not(call: Command, argv: list[str], word: str) -> None:
    done = call("info", "--plan", "64x32", "--norm", *argv)
    assert done.code == 2
    assert word in done.err and len(done.err.splitlines()) == 1


@native
def test_json(call: Command) -> None:
    done = call(
        "info", "--plan", "64x256x56x56", "--json", "--op", "backward", "--dtype", "float64"
    )
    assert done.code == 0, done.err
    result = done.json
    assert result["shape"] == [64, 256, 56, 56]
    assert list(result["plans"]) == ["backward"]
    plan = result["plans"]["backward"]
    assert plan["by_channels"] is True
    assert plan["bytes"] == 3 * 8 * 64 * 256 * 56 * 56
    assert plan["at"]["lanes"] == 16
    assert result["caches"]["llc_cpus"] >= 1


@native
def test_json_of_groups(call: Command) -> None:
    argv = ["--norm", "group", "--groups", "16", "--op", "backward", "--dtype", "float64"]
    done = call("info", "--plan", "4x64x4x4", *argv, "--json")
    assert done.code == 0, done.err
    result = done.json
    assert (result["norm"], result["groups"], result["axis"]) == ("group", 16, 1)
    assert list(result["plans"]) == ["backward"]
    plan = result["plans"]["backward"]
    assert [plan[size] for size in ("n", "a", "c", "s", "groups")] == [4, 1, 64, 16, 16]
    assert plan["direct"] is True and plan["inside"] is False
    assert plan["bytes"] == 3 * 8 * 4 * 64 * 16  # of the whole call
    assert plan["threads"] == 1  # too little for two


@native
def test_a_residual_is_one_array_more(call: Command) -> None:
    plain = call("info", "--plan", "64x64", "--json").json["plans"]["forward"]
    added = call("info", "--plan", "64x64", "--json", "--residual").json["plans"]["forward"]
    assert added["bytes"] * 2 == plain["bytes"] * 3


@pytest.mark.parametrize(
    "argv",
    [
        ["--plan", "64"],
        ["--plan", "64x"],
        ["--plan", "64x0x3"],
        ["--plan", "64x-2"],
        ["--plan", "axb"],
        ["--plan", "99999999999999x99999999999999"],
        ["--plan", "64x32", "--axis", "2"],
        ["--plan", "64x32", "--op", "sideways"],
        ["--plan", "64x32", "--threads", "0"],
        ["--plan", "64x32", "--norm", "group"],
        ["--axis", "1"],
        ["--groups", "4"],
        ["--residual"],
        ["--norm", "rms"],
    ],
)
def test_bad_questions_are_one_line(call: Command, argv: list[str]) -> None:
    done = call("info", *argv)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1


def test_without_the_compiled_core(call: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bncore.backend.native_module", lambda: None)
    done = call("info", "--plan", "64x32")
    assert done.code == 2
    assert "compiled core" in done.err and len(done.err.splitlines()) == 1


@native
def test_info_shows_the_caches(call: Command) -> None:
    result = call("info", "--json").json
    assert set(result["caches"]) == {"l1", "l2", "llc", "llc_cpus"}
    text = call("info").out
    for word in ("caches.llc", "pool.idle_bytes", "team.kind", "threads"):
        assert word in text
