from serving.batching import Limits
from serving.batching.fairness import Accounts, Part


def accounts_of(*teams: str) -> Accounts:
    accounts = Accounts(Limits(burst_s=0.1, memory_s=1.0))
    for team in teams:
        accounts.comes(team, 0.0, [])
    return accounts


def test_the_team_that_took_least_is_next() -> None:
    accounts = accounts_of("cs", "hr")
    accounts.book({"cs": Part(charge_s=0.01)}, ["cs", "hr"])
    assert accounts.next_of(["cs", "hr"]) == "hr"


def test_of_teams_that_took_the_same_the_one_served_longest_ago_is_next() -> None:
    accounts = accounts_of("cs", "hr")
    accounts.book({"hr": Part(charge_s=0.0)}, ["cs", "hr"])
    accounts.book({"cs": Part(charge_s=0.0)}, ["cs", "hr"])
    assert accounts.next_of(["cs", "hr"]) == "hr"


def test_what_a_team_takes_alone_is_not_held_against_it() -> None:
    accounts = accounts_of("cs")
    for _ in range(1000):
        accounts.book({"cs": Part(charge_s=0.01)}, ["cs"])
    accounts.comes("hr", 1.0, ["cs"])
    accounts.book({"hr": Part(charge_s=0.02)}, ["cs", "hr"])
    assert accounts.next_of(["cs", "hr"]) == "cs"


def test_a_team_that_comes_back_does_not_pass_one_that_waits() -> None:
    accounts = accounts_of("cs", "hr")
    for _ in range(10):
        accounts.comes("hr", 0.0, ["cs"])
        if accounts.next_of(["cs", "hr"]) == "cs":
            return
        accounts.book({"hr": Part(charge_s=0.03)}, ["cs", "hr"])
    raise AssertionError("the team that waits starves")


def test_teams_that_ask_nothing_any_more_are_forgotten() -> None:
    accounts = accounts_of("cs")
    for number in range(1000):
        accounts.comes(f"team {number}", number * 0.1, [])
        accounts.book({f"team {number}": Part(charge_s=0.05)}, [f"team {number}"])
    assert len(accounts) < 100


def test_the_most_that_a_team_asks_for_at_a_time_is_remembered_for_a_while() -> None:
    accounts = accounts_of("cs")
    accounts.book({"cs": Part(charge_s=0.02, alone_s=0.03, work_s=0.01)}, ["cs"])
    assert (accounts["cs"].alone_s, accounts["cs"].work_s) == (0.03, 0.01)
    for _ in range(200):
        accounts.book({"cs": Part(charge_s=0.001, alone_s=0.002, work_s=0.001)}, ["cs"])
    assert accounts["cs"].alone_s < 0.003
    assert [team for team, _ in accounts.about(0.9)] == ["cs"]
    assert list(accounts.about(1.1)) == []
