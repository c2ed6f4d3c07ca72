#![allow(clippy::unwrap_used)]
use super::*;

fn plan(seed: u64, faults: Vec<Fault>) -> Plan {
    Plan { seed, calls: 1, faults, willing: true, sabotage: Sabotage::Nothing, trace: false }
}

fn sabotaged(sabotage: Sabotage, faults: &str) -> Vec<String> {
    let faults = Fault::choose(faults).unwrap();
    let worlds = (1..=4).flat_map(|seed| faults.iter().map(move |fault| plan(seed, vec![fault.clone()])));
    worlds.filter_map(|plan| run(&Plan { sabotage, ..plan }).broken).collect()
}

#[test]
fn without_faults_every_visit_is_completed_by_the_first_agent() {
    for seed in 0..4 {
        let verdict = run(&plan(seed, Vec::new()));
        assert_eq!(verdict.broken, None, "seed {seed}");
        assert_eq!((verdict.completed, verdict.scripted, verdict.failures), (1, 0, 0), "seed {seed}");
    }
}

#[test]
fn a_seed_is_one_world() {
    let once = random(7, 3);
    assert_eq!(once, random(7, 3));
    assert!(once.call_hours > 0.0);
}

#[test]
fn every_row_of_the_table_ends_well() {
    for row in table(&Fault::usual(), 2) {
        assert_eq!(row.broken, Vec::<String>::new(), "{}", row.fault);
        assert_eq!(row.completed + row.handed_over, row.visits, "{}", row.fault);
        assert_eq!((row.answers_lost, row.told), (0, row.failures), "{}", row.fault);
        assert!(row.dead_air_s <= 7.0, "{}: {} s", row.fault, row.dead_air_s);
    }
}

#[test]
fn when_the_agent_dies_for_everybody_at_once_everybody_is_served() {
    for row in storm(12, 1) {
        assert_eq!(row.broken, Vec::<String>::new(), "{}", row.fault);
        assert_eq!(row.completed + row.handed_over, 12, "{}", row.fault);
    }
}

#[test]
fn random_worlds_break_no_rule() {
    let found = random(1, 60);
    assert_eq!(found.broken, Vec::<String>::new());
}

#[test]
fn what_is_broken_on_purpose_is_noticed() {
    let cases = [
        (Sabotage::DropsClear, "agent-close-1011@question", "plays on"),
        (Sabotage::AsksAgain, "status-storm@greeting", "asked again"),
        (Sabotage::LosesEvent, "database-out@greeting", "acknowledged"),
        (Sabotage::TellsTwice, "status-storm@red-flag", "told 2 times"),
        (Sabotage::DeadAir, "agent-mute@answer", "dead air"),
        (Sabotage::NoCallBack, "process-kill@question", "neither complete nor handed over"),
    ];
    for (sabotage, faults, said) in cases {
        let broken = sabotaged(sabotage, faults);
        assert!(broken.iter().any(|what| what.contains(said)), "{sabotage:?}: {broken:?}");
    }
}
