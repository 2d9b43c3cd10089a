//! `byrnie report`: taking reports in and looking at them, without a daemon.

use std::fs;
use std::sync::Arc;

use byrnie_base::UnixTime;
use byrnie_net::clock::Clock;
use byrnie_net::clock::SystemClock;
use byrnie_store::OutgoingReports;
use byrnie_store::ResultBatch;
use byrnie_store::SessionResults;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_tlsrpt::Counted;
use byrnie_tlsrpt::Entry;
use byrnie_tlsrpt::PolicyDescription;
use byrnie_tlsrpt::SessionOutcome;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use crate::support::Ran;
use crate::support::byrnie_in;

#[test]
fn what_was_imported_is_listed_shown_and_added_up() {
    let world = World::new();
    world.write("in/a.json", &report("1", 5));
    world.write("in/b.txt", "nothing");
    let imported = world.run(&["import", "in"], 1).stdout;
    assert!(imported.contains("in/a.json: new, kept as "), "{imported}");
    let reason = "neither JSON nor gzip, nor a mail with a report in it";
    assert!(imported.contains(reason), "{imported}");
    let again = world.run(&["import", "in/a.json"], 0).stdout;
    assert!(
        again.ends_with("0 new, 1 known already, 0 unreadable, 0 not kept\n"),
        "{again}"
    );

    let listed = world.run(&["tlsrpt", "list", "--json"], 0).stdout;
    let rows: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let row = rows.iter().find(|row| row["report_id"] == "1").unwrap();
    assert_eq!(
        (&row["failed"], &row["source"]),
        (&json!(5), &json!("import"))
    );

    let number = row["id"].to_string();
    let shown = world.run(&["tlsrpt", "show", &number], 0).stdout;
    assert!(
        shown.contains("5 x tlsa-invalid at mx.a.example [-], from [-]"),
        "{shown}"
    );
    let none = world.run(&["tlsrpt", "show", "99"], 1).stderr;
    assert!(
        none.starts_with("error: no report has the number 99\nhint: "),
        "{none}"
    );

    let summary = world.run(&["tlsrpt", "summary", "--json"], 0).stdout;
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["failures"][0]["result_type"], "tlsa-invalid");
    assert_eq!(summary["failures"][0]["failed"], 5);
    assert_eq!(summary["unreadable"], 1);
}

#[test]
fn what_leads_nowhere_is_bad_usage() {
    let world = World::new();
    let said = world.run(&["import", "none.eml"], 2).stderr;
    assert!(said.starts_with("error: none.eml: "), "{said}");
}

#[tokio::test]
async fn what_a_domain_will_be_told_is_shown() {
    let world = World::new();
    let off = world.run(&["tlsrpt", "preview", "a.example"], 2).stderr;
    assert!(off.contains("hint: set `tlsrpt.contact`"), "{off}");
    let reporting =
        "version = 1\n[queue]\nspool = \"spool\"\n[tlsrpt]\ncontact = \"a@b.example\"\n";
    world.write(CONFIGURATION, reporting);
    let day = "2026-04-01";
    let entry = Entry {
        day: day.parse().unwrap(),
        domain: "a.example".parse().unwrap(),
        policy: Arc::new(PolicyDescription {
            policy_domain: String::from("a.example"),
            ..PolicyDescription::default()
        }),
        counted: Counted::Sessions(SessionOutcome::Succeeded),
    };
    let options = SqliteOptions::in_directory(world.0.path().join("spool"));
    let store = SqliteStore::open(options).unwrap();
    let (number, entries) = (1, vec![(entry, 7)]);
    let batch = ResultBatch { number, entries };
    assert_eq!(store.add_results(batch).await, Ok(0));

    let preview = ["tlsrpt", "preview", "a.example", "--day", day];
    assert_eq!(
        world.run(&preview, 0).stdout,
        "a.example on 2026-04-01\n  no-policy-found of a.example: 7 sessions succeeded, 0 failed\n"
    );
    let json = world.run(&[&preview[..], &["--json"]].concat(), 0).stdout;
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["organization-name"], "b.example");
    assert_eq!(report["date-range"]["end-datetime"], "2026-04-01T23:59:59Z");
    let summary = &report["policies"][0]["summary"];
    assert_eq!(summary["total-successful-session-count"], 7);
    let other = ["tlsrpt", "preview", "a.example", "--day", "2026-04-02"];
    let other = world.run(&other, 0).stdout;
    assert!(other.ends_with("\n  nothing was counted\n"), "{other}");

    let nothing = world.run(&["tlsrpt", "outgoing"], 0).stdout;
    assert!(nothing.starts_with("no report waits"), "{nothing}");
    assert_eq!(world.run(&["tlsrpt", "outgoing", "--json"], 0).stdout, "");
    let nothing = world.run(&["tlsrpt", "list"], 0).stdout;
    assert!(nothing.starts_with("nobody has reported"), "{nothing}");
    let (due, now) = (vec![UnixTime(1_775_100_000)], UnixTime(1_775_090_000));
    assert_eq!(
        store.draw_up("2026-04-02".parse().unwrap(), due, now).await,
        Ok(1)
    );
    assert_eq!(
        world.run(&["tlsrpt", "outgoing"], 0).stdout,
        "2026-04-01 a.example to _smtp._tls: waits until 2026-04-02T03:20:00Z\n"
    );
}

/// A report about today with so many failures.
fn report(id: &str, failed: u64) -> String {
    let day = jiff::Timestamp::from_second(SystemClock.now().as_i64())
        .unwrap()
        .to_string();
    let report = json!({
        "organization-name": "Org",
        "report-id": id,
        "date-range": {"start-datetime": day, "end-datetime": day},
        "policies": [{
            "policy": {"policy-type": "tlsa", "policy-domain": "a.example"},
            "summary": {"total-failure-session-count": failed},
            "failure-details": [{
                "result-type": "tlsa-invalid",
                "receiving-mx-hostname": "mx.a.example",
                "failed-session-count": failed,
            }],
        }],
    });
    report.to_string()
}

/// A folder with an empty spool.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let spool = folder.path().join("spool");
        drop(SqliteStore::open(SqliteOptions::in_directory(&spool)).unwrap());
        fs::create_dir(folder.path().join("in")).unwrap();
        let configuration = "version = 1\n[queue]\nspool = \"spool\"\n";
        fs::write(folder.path().join(CONFIGURATION), configuration).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Ran {
        let arguments = [&["report"], arguments, &["--config", CONFIGURATION]].concat();
        let ran = byrnie_in(self.0.path(), &arguments);
        assert_eq!(ran.code, code, "{ran:?}");
        ran
    }
}

const CONFIGURATION: &str = "byrnie.toml";
