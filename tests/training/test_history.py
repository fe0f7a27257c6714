"""History: reads like a table, survives JSON, draws itself."""

import sys

import pytest

from bncore.training.history import History


@pytest.fixture
def history():
    found = History()
    found.epochs = [
        {
            "epoch": e,
            "steps": 10 * e,
            "lr": 0.1 / e,
            "loss": 1.0 / e,
            "accuracy": 0.9,
            "val_loss": 1.1 / e,
            "seconds": 0.5,
        }
        for e in (1, 2, 3)
    ]
    found.stopped, found.best_epoch = "early stopping", 2
    return found


def test_str_is_a_table_with_the_reason_it_ended(history):
    lines = str(history).splitlines()
    assert lines[0].split() == ["epoch", "steps", "lr", "loss", "accuracy", "val_loss", "seconds"]
    assert lines[2].split() == ["2", "20", "0.05", "0.5000", "0.9000", "0.5500", "0.50"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4] == "stopped: early stopping; the net holds epoch 2"


def test_columns_by_name(history):
    assert history["val_loss"] == [1.1, 0.55, 1.1 / 3]
    with pytest.raises(KeyError, match="val_accuracy"):
        history["val_accuracy"]


def test_json_and_back(history):
    again = History.from_json(history.to_json())
    assert again.to_dict() == history.to_dict()


def test_plot_writes_a_picture(history, tmp_path):
    pytest.importorskip("matplotlib")
    history.plot(tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes()[:4] == b"\x89PNG"


def test_plot_without_matplotlib_names_the_extra(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"bncore\[plot\]"):
        history.plot()


def test_an_empty_history_prints_and_refuses_to_plot():
    assert str(History()) == ""
    with pytest.raises(ValueError, match="empty"):
        History().plot()
