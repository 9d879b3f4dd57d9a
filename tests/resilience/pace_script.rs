//! The script of the shared pace on a real server whose clock the test moves.

use breakwater::origin::pacing::shared::SCRIPT;

use crate::limits_rig::Script;

const KEY: &str = "breakwater:2:pace:{500001}";
const SECOND: u64 = 1_000_000;

/// What an instance asks; by default a call at once, without any bound.
#[derive(Clone, Copy, Default)]
struct Asked {
    interval: u64,
    burst: u64,
    longest: u64,
    spare: u64,
    day: u64,
    limit: u64,
    left: u64,
    used: u64,
    unreported: u64,
    returned: u64,
    ban: u64,
    reports_only: bool,
}

impl Asked {
    fn ask(self, script: &mut Script) -> [i64; 4] {
        let Self { interval, burst, longest, spare, day, limit, left, .. } = self;
        let Self { used, unreported, returned, ban, reports_only, .. } = self;
        let wanted = u64::from(!reports_only);
        let numbers = [
            interval, burst, longest, spare, day, limit, left, used, unreported, returned, ban,
            wanted,
        ];
        script.run(KEY, &numbers).try_into().unwrap()
    }
}

const PACED: Asked = Asked {
    interval: SECOND / 10,
    burst: 3,
    longest: SECOND,
    spare: 0,
    day: 20_000,
    limit: 0,
    left: 0,
    used: 0,
    unreported: 0,
    returned: 0,
    ban: 0,
    reports_only: false,
};
const OF_THE_DAY: Asked = Asked { interval: 0, limit: 5, ..PACED };

#[test]
fn a_burst_goes_at_once_the_rest_evenly_and_what_is_too_late_takes_nothing() {
    let mut script = Script::of(SCRIPT);
    script.begin(0);
    let waits: Vec<_> = (0..5).map(|_| PACED.ask(&mut script)[1]).collect();
    assert_eq!(waits, [0, 0, 0, 100_000, 200_000]);
    let hasty = Asked { longest: 250_000, ..PACED };
    for _ in 0..3 {
        assert_eq!(hasty.ask(&mut script), [2, 300_000, 5, 0]);
    }
    let patient = Asked { longest: 300_000, ..PACED };
    assert_eq!(patient.ask(&mut script), [1, 300_000, 6, 0]);
    // Two of the burst are there again; a background call leaves one of them.
    script.turn_clock(SECOND * 5 / 10);
    let spare = Asked { longest: 0, spare: 1, ..PACED };
    assert_eq!(spare.ask(&mut script)[0], 1);
    assert_eq!(spare.ask(&mut script)[0], 2);
    assert_eq!(PACED.ask(&mut script)[1], 0);
    script.stop();
}

#[test]
fn the_day_is_spent_once_and_begins_anew() {
    let mut script = Script::of(SCRIPT);
    script.begin(0);
    let decided: Vec<_> = (0..7).map(|_| OF_THE_DAY.ask(&mut script)[0]).collect();
    assert_eq!(decided, [1, 1, 1, 1, 1, 3, 3]);
    // An instance whose clock is behind spends of the same day.
    assert_eq!(Asked { day: 19_999, ..OF_THE_DAY }.ask(&mut script)[0], 3);
    assert_eq!(Asked { day: 20_001, ..OF_THE_DAY }.ask(&mut script), [1, 0, 1, 0]);
    let spare = Asked { day: 20_001, left: 3, ..OF_THE_DAY };
    assert_eq!(spare.ask(&mut script)[0], 1);
    assert_eq!(spare.ask(&mut script)[0], 3, "three are left, and left to clients");
    script.stop();
}

#[test]
fn what_was_spent_without_asking_and_what_an_instance_knows_count() {
    let mut script = Script::of(SCRIPT);
    script.begin(0);
    let knows = Asked { used: 2, ..OF_THE_DAY };
    assert_eq!(knows.ask(&mut script)[2], 3, "it was forgotten here");
    assert_eq!(knows.ask(&mut script)[2], 4, "it is known now");
    let reports = Asked { unreported: 3, reports_only: true, ..OF_THE_DAY };
    assert_eq!(reports.ask(&mut script), [0, 0, 7, 0]);
    assert_eq!(OF_THE_DAY.ask(&mut script)[0], 3);
    let returns = Asked { returned: 3, ..OF_THE_DAY };
    assert_eq!(returns.ask(&mut script), [1, 0, 5, 0], "three of seven were not made");
    script.stop();
}

#[test]
fn a_ban_holds_for_all_and_is_only_prolonged() {
    let mut script = Script::of(SCRIPT);
    script.begin(0);
    let told = |ban| Asked { ban, reports_only: true, ..PACED };
    assert_eq!(told(5_000).ask(&mut script)[3], 5_000);
    assert_eq!(told(1_000).ask(&mut script)[3], 5_000);
    assert_eq!(PACED.ask(&mut script), [4, 0, 0, 5_000]);
    script.turn_clock(5 * SECOND);
    assert_eq!(PACED.ask(&mut script)[0], 1);
    let _: i64 = script.command(&["HSET", KEY, "ban", "9999999999999"]);
    let [decided, .., ban] = PACED.ask(&mut script);
    assert_eq!((decided, ban), (1, 0), "longer than any upstream says");
    script.stop();
}

#[test]
fn a_clock_that_was_put_back_and_what_is_not_ours_stop_nobody() {
    let mut script = Script::of(SCRIPT);
    script.begin(3_600 * SECOND);
    for _ in 0..5 {
        PACED.ask(&mut script);
    }
    script.turn_clock(0);
    let [_, wait, ..] = Asked { longest: 3_600 * SECOND, ..PACED }.ask(&mut script);
    assert!(wait <= 60_000_000, "{wait}");
    for junk in [
        &["SET", KEY, "x"][..],
        &["RPUSH", KEY, "1", "2"],
        &["HSET", KEY, "tat", "nan", "day", "-1", "count", "1e400", "ban", "x"],
    ] {
        script.begin(0);
        let _: deadpool_redis::redis::Value = script.command(junk);
        assert_eq!(PACED.ask(&mut script)[0], 1, "{junk:?}");
        assert_eq!(PACED.ask(&mut script)[0], 1, "{junk:?}");
    }
    script.stop();
}
