from esc_cli.jobs.chronicle import Chronicle
from esc_cli.jobs.events import Done, Engine, Failed, Planned, Skipped, Summary, Workers

ENGINE = Engine("esc", (4, 2), "cuda:0", "", "float16", "", "flash", "", None, None)


def planned(name: str) -> Planned:
    return Planned(name, f"out/{name}", "PNG", 3, 4, 6, 8, 1, ("a loss",), "esc", None)


def done(name: str) -> Done:
    return Done(name, f"out/{name}", 6, 8, 1.5, ("a note",), (), "esc", None)


def test_the_order_in_which_workers_finish_does_not_matter() -> None:
    plan = [planned("a.png"), planned("b.png"), planned("c.png")]
    failure = Failed("b.png", "it is damaged", "copy it again", 3)
    here, cluster = Chronicle(), Chronicle()
    for event in (*plan, ENGINE, done("a.png"), failure, done("c.png")):
        here(event)
    workers = Workers(2, ("node1", "node2"))
    for event in (*plan, workers, ENGINE, done("c.png"), ENGINE, failure, done("a.png")):
        cluster(event)
    assert here.entries() == cluster.entries()
    facts = cluster.summary("", "", ()).facts
    assert facts["models"] == "esc x4 then x2 on cuda:0 in float16"
    assert facts["workers"] == "2 on node1, node2"
    assert [entry.state for entry in here.entries()] == ["done", "failed", "done"]
    assert here.entries()[0].notes == ("a note",)
    assert here.entries()[1].problem == ("it is damaged", "copy it again")
    assert here.entries()[1].notes == ("a loss",)


def test_a_run_that_continues_and_is_interrupted() -> None:
    chronicle = Chronicle()
    assert chronicle.is_empty
    for event in (planned("a.png"), planned("b.png"), Failed("no.png", "it is empty", None, 3)):
        chronicle(event)
    for number in range(3):
        chronicle(Skipped(f"{number}.png", f"out/{number}.png", "up to date"))
    chronicle(done("a.png"))
    assert not chronicle.is_empty
    summary = chronicle.summary("title", "command", ("It was interrupted.",))
    assert summary.facts["results"] == "1 done, 3 already there, 1 failed, 1 not done"
    assert "time" not in summary.facts
    assert summary.remarks == (
        "It was interrupted.",
        "The run continued an earlier one: 3 results were up to date already.",
    )
    chronicle(Summary(1, 3, 1, 7, 3725.2))
    facts = chronicle.summary("title", "command", ()).facts
    assert facts["time"] == "1 h 2 min"
    assert facts["results"].endswith(", 7 ignored (not pictures, or already results)")
