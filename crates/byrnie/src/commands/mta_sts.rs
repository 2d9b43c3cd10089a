//! `byrnie mta-sts`: the policies that byrnie publishes, and what belongs to them in the DNS.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use byrnie_base::DomainName;
use byrnie_mta_sts::Finding;
use byrnie_mta_sts::POLICY_PATH;
use byrnie_mta_sts::Published;
use byrnie_mta_sts::Seen;
use byrnie_mta_sts::StsRecord;
use byrnie_mta_sts::lint;
use byrnie_mta_sts::policy_host;
use byrnie_mta_sts::record_owner;
use byrnie_net::dns::Outcome;
use byrnie_net::dns::RecordData;
use byrnie_net::dns::RecordType;
use byrnie_net::dns::Resolve;
use byrnie_net::dns::Resolver;
use byrnie_net::sts::FetchPolicy;
use byrnie_net::sts::StsFetcher;
use byrnie_store::PublishedPolicies;
use byrnie_store::SqliteOptions;
use byrnie_store::SqliteStore;
use byrnie_tlsrpt::TlsrptRecord;
use byrnie_web::REPORT_PATH;
use serde::Serialize;

use crate::cli::MtaStsArgs;
use crate::cli::MtaStsBumpArgs;
use crate::cli::MtaStsCommand;
use crate::config;
use crate::config::File;
use crate::config::MtaSts;
use crate::control;
use crate::control::Request;
use crate::failure::Failure;
use crate::output;
use crate::output::Paint;
use crate::publishing::draw_up;
use crate::publishing::mail_hosts;
use crate::publishing::publish_anew;
use crate::resolving;
use crate::runtime;

/// Runs one of the `mta-sts` commands.
pub(crate) fn run(command: &MtaStsCommand) -> Result<ExitCode, Failure> {
    match command {
        MtaStsCommand::Show(args) => look(args, show),
        MtaStsCommand::Lint(args) => look(args, linted),
        MtaStsCommand::Bump(args) => bump(args),
    }
}

/// A policy, what belongs to it, and what is wrong with either.
#[derive(Serialize)]
struct View {
    /// Whose policy it is.
    domain: DomainName,
    /// The policy file.
    policy: String,
    /// Where senders fetch it.
    url: String,
    /// What must stand in the DNS, and what does.
    records: Vec<Record>,
    /// What is wrong, the worst first.
    findings: Vec<Said>,
}

/// A TXT record.
#[derive(Serialize)]
struct Record {
    /// Where it stands.
    owner: String,
    /// What it should say.
    text: String,
    /// What stands there now, of the same kind; `None` if that could not be found out.
    found: Option<Vec<String>>,
}

/// Something that is wrong, or could be better.
#[derive(Serialize)]
struct Said {
    /// Whether mail or protection is lost by it.
    fault: bool,
    /// What it is.
    text: String,
}

impl Said {
    /// What is wrong with a policy.
    fn of(finding: &Finding) -> Self {
        Self {
            fault: finding.is_fault(),
            text: finding.to_string(),
        }
    }
}

/// What is wrong with the record that says where reports about a domain go, of which these are ours.
fn reporting(found: Option<&[String]>, rua: &str) -> Option<Said> {
    let record = TlsrptRecord::select(found?.iter().map(String::as_bytes));
    let (fault, text) = match record {
        Ok(None) => (
            false,
            String::from("no record at _smtp._tls: nobody tells how TLS with this domain goes"),
        ),
        Err(why) => (
            true,
            format!("the record at _smtp._tls cannot be used: {why}"),
        ),
        Ok(Some(record)) => {
            let named: Vec<String> = record
                .destinations
                .iter()
                .map(ToString::to_string)
                .collect();
            let is_ours = rua
                .split(',')
                .any(|ours| named.iter().any(|one| one == ours));
            if rua.is_empty() || is_ours {
                return None;
            }
            (
                false,
                format!("reports go to {}, and not to this byrnie", named.join(", ")),
            )
        }
    };
    Some(Said { fault, text })
}

/// Looks at the policies of some domains, or of all, and prints each.
fn look(args: &MtaStsArgs, print: fn(&View, Paint) -> String) -> Result<ExitCode, Failure> {
    let file = resolving::settings(&args.config, &args.resolve)?;
    let domains = domains(&file, &args.domains)?;
    runtime::block_on(async {
        let store = resolving::gateway_store(&file)?;
        let now = resolving::clock().now();
        let anchors = resolving::known_anchors(&file, store.as_ref(), now).await?;
        let resolver = resolving::resolver(&file, anchors.as_ref(), &resolving::clock())?;
        let world = World {
            fetcher: fetcher(&file, &resolver)?,
            file: &file,
            resolver,
            store,
        };
        let (all, mut faulty) = (domains.len(), 0);
        for (rule, domain) in domains {
            let view = world.view(rule, domain).await?;
            faulty += usize::from(view.findings.iter().any(|finding| finding.fault));
            match args.json {
                true => output::print_json(&view)?,
                false => output::print(print(&view, Paint::for_stdout()))?,
            }
        }
        if all > 1 && !args.json {
            output::print(format_args!("{all} domains, {faulty} with faults\n"))?;
        }
        Ok(match faulty {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::from(1),
        })
    })
}

/// The rules for some domains, or for all.
fn domains<'a>(
    file: &'a File,
    wanted: &[DomainName],
) -> Result<Vec<(&'a MtaSts, &'a DomainName)>, Failure> {
    let all = file.mta_sts.iter();
    let all: Vec<_> = all
        .flat_map(|rule| rule.domains.iter().map(move |domain| (rule, domain)))
        .collect();
    if let Some(stranger) = wanted
        .iter()
        .find(|wanted| !all.iter().any(|(_, domain)| domain == wanted))
    {
        return Err(
            Failure::usage(format!("{stranger} has no policy in the configuration"))
                .hint("add a `[[mta_sts]]` with it in `domains`"),
        );
    }
    if all.is_empty() {
        return Err(Failure::usage("this configuration publishes no policy")
            .hint("add a `[[mta_sts]]`, or name the right file with `--config`"));
    }
    let is_wanted = |domain: &DomainName| wanted.is_empty() || wanted.contains(domain);
    Ok(all
        .into_iter()
        .filter(|(_, domain)| is_wanted(domain))
        .collect())
}

/// Where this configuration takes reports about a domain, as its record says it; empty if nowhere.
fn rua(file: &File, domain: &DomainName) -> String {
    let receive = &file.tlsrpt.receive;
    let address = receive.addresses.first();
    let by_mail = address.map(|address| format!("mailto:{address}"));
    let host = policy_host(domain).ok().filter(|_| receive.https);
    let by_https = host.map(|host| format!("https://{host}{REPORT_PATH}"));
    let ways: Vec<String> = by_mail.into_iter().chain(by_https).collect();
    ways.join(",")
}

/// Fetches policies as senders do.
fn fetcher(file: &File, resolver: &Resolver) -> Result<StsFetcher<Resolver>, Failure> {
    let tls = resolving::roots(file)?
        .https_client_config()
        .map_err(|error| Failure::runtime(error.to_string()))?;
    let fetcher = StsFetcher::new(Arc::new(resolver.clone()), tls);
    Ok(fetcher.with_port(file.delivery.https_port))
}

/// Whom to ask about a policy.
struct World<'a> {
    file: &'a File,
    resolver: Resolver,
    fetcher: StsFetcher<Resolver>,
    store: Option<Arc<SqliteStore>>,
}

impl World<'_> {
    /// What the configuration makes of a domain's policy, and what the world sees of it.
    async fn view(&self, rule: &MtaSts, domain: &DomainName) -> Result<View, Failure> {
        let edition = match &self.store {
            Some(store) => edition(store, domain).await?,
            None => 0,
        };
        let (hosts, sts, reports, served) = tokio::join!(
            mail_hosts(&self.resolver, domain),
            self.texts(record_owner(domain).ok()),
            self.texts(domain.prefixed("_smtp._tls").ok()),
            self.fetcher.fetch(domain),
        );
        let policy = draw_up(rule, &hosts).map_err(|why| {
            Failure::runtime(format!("{domain}: there is no policy: {why}"))
                .hint("name the mail hosts in `mta_sts.mx`")
        })?;
        let published = Published::new(domain.clone(), policy, edition);
        let known = sts.as_deref().map(|texts| {
            let texts = texts.iter().map(String::as_bytes);
            StsRecord::select(texts)
        });
        let hosts = hosts.ok().map(|hosts| hosts.value);
        let served = served.map_err(|error| error.to_string());
        let seen = Seen {
            hosts: hosts.as_deref(),
            record: known,
            served: Some(served.as_deref().map_err(String::clone)),
        };
        let findings = lint(&published, &seen);
        let host = policy_host(domain).map_or_else(|_| String::new(), |host| host.to_string());
        let rua = rua(self.file, domain);
        let mut said: Vec<Said> = findings.iter().map(Said::of).collect();
        said.extend(reporting(reports.as_deref(), &rua));
        let mut records = vec![Record {
            owner: format!("_mta-sts.{domain}"),
            text: published.record().to_string(),
            found: sts,
        }];
        if !rua.is_empty() {
            records.push(Record {
                owner: format!("_smtp._tls.{domain}"),
                text: format!("v=TLSRPTv1; rua={rua}"),
                found: reports,
            });
        }
        Ok(View {
            domain: domain.clone(),
            policy: published.policy.to_string(),
            url: format!("https://{host}{POLICY_PATH}"),
            records,
            findings: said,
        })
    }

    /// The TXT records at a name that begin with a version, as all do that count here; `None` if they are
    /// not known.
    async fn texts(&self, owner: Option<DomainName>) -> Option<Vec<String>> {
        let answer = self.resolver.lookup(&owner?, RecordType::Txt).await;
        let records = match answer.outcome.ok()?.value {
            Outcome::Records(records) => records,
            Outcome::NoData | Outcome::NxDomain => Vec::new(),
        };
        let texts = records.into_iter().filter_map(|record| match record {
            RecordData::Txt(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            RecordData::A(_)
            | RecordData::Aaaa(_)
            | RecordData::Mx { .. }
            | RecordData::Tlsa(_)
            | RecordData::Other(_) => None,
        });
        Some(texts.filter(|text| text.starts_with("v=")).collect())
    }
}

/// How often a domain's policy was published anew.
async fn edition(store: &SqliteStore, domain: &DomainName) -> Result<u64, Failure> {
    let last = store.published_sts(domain).await;
    let last = last.map_err(|error| Failure::store(&error))?;
    Ok(last.map_or(0, |last| last.edition))
}

/// A policy with its records, for people.
fn show(view: &View, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.bold(view.domain.as_str()));
    _ = writeln!(text, "  {}", view.url);
    for line in view.policy.lines() {
        _ = writeln!(text, "    {line}");
    }
    text.push_str("  in the DNS:\n");
    for record in &view.records {
        let Record {
            owner,
            text: should,
            found,
        } = record;
        _ = writeln!(text, "    {owner}. TXT \"{should}\"");
        let state = match found.as_deref() {
            None => paint.yellow("not known: the DNS gives no answer that can be believed"),
            Some([]) => paint.red("missing"),
            Some([one]) if one == should => paint.green("as it should be"),
            Some([one]) => paint.yellow(&format!("found: {}", output::visible(one))),
            Some(many) => paint.red(&format!("there are {} of them", many.len())),
        };
        _ = writeln!(text, "      {state}");
    }
    let host = view.url.split('/').nth(2).unwrap_or_default();
    _ = writeln!(
        text,
        "    {host}. A, AAAA or CNAME: where byrnie's `web.listen` is reached"
    );
    text.push_str(&findings(view, paint));
    text
}

/// What is wrong, for people.
fn linted(view: &View, paint: Paint) -> String {
    let headline = paint.bold(view.domain.as_str());
    format!("{headline}\n{}", findings(view, paint))
}

/// One line for each finding.
fn findings(view: &View, paint: Paint) -> String {
    let mut text = String::new();
    for finding in &view.findings {
        let word = match finding.fault {
            true => paint.red("fault"),
            false => paint.yellow("advice"),
        };
        _ = writeln!(text, "  {word}: {}", output::visible(&finding.text));
    }
    if view.findings.is_empty() {
        _ = writeln!(text, "  {}", paint.green("nothing is wrong"));
    }
    text
}

/// What `bump` says when it is done.
#[derive(Serialize)]
struct Bumped<'a> {
    /// Whose policy it is.
    domain: &'a DomainName,
    /// How often it was published anew.
    edition: u64,
}

/// Runs `byrnie mta-sts bump`: another id for the same policy.
fn bump(args: &MtaStsBumpArgs) -> Result<ExitCode, Failure> {
    let file = config::load(args.config.config.as_deref())?;
    let domain = &args.domain;
    domains(&file, std::slice::from_ref(domain))?;
    let request = Request::PublishAnew {
        domain: domain.clone(),
    };
    let edition = match control::ask(&file.queue.spool, &request)? {
        Some(edition) => edition,
        None => runtime::block_on(async {
            let options = SqliteOptions::in_directory(&file.queue.spool);
            let store = SqliteStore::open(options).map_err(|error| Failure::store(&error))?;
            publish_anew(&store, domain).await
        })?,
    };
    if args.json {
        output::print_json(&Bumped { domain, edition })?;
    } else {
        output::print(format_args!(
            "{domain}: senders will fetch the policy anew once the TXT record says so; \
             `byrnie mta-sts show {domain}` prints it\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
