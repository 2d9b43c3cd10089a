//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::path::PathBuf;

use byrnie_base::DomainName;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;
use byrnie_tlsrpt::Day;
use clap::Args;
use clap::Parser;
use clap::Subcommand;
use clap::ValueEnum;

use crate::config::DEFAULT_PATH;
use crate::config::Span;

/// Relays mail only as safely as the recipient's domain promises
#[derive(Debug, Parser)]
#[command(
    name = "byrnie",
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What byrnie can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Relay mail: take it in over SMTP, keep it, and send it on
    #[command(after_help = EXIT_SERVE)]
    Serve(ServeArgs),
    /// Watch the running gateway: rates, queue, slowest destinations, TLS, disk
    #[command(after_help = EXIT_TOP)]
    Top(TopArgs),
    /// Let the running gateway read its configuration again, without losing a connection
    #[command(after_help = EXIT_RELOAD)]
    Reload(ReloadArgs),
    /// Put every promise to the test in a miniature internet on loopback
    #[command(after_help = EXIT_LAB)]
    Lab(LabArgs),
    /// Say what would be demanded when sending to a domain, and why
    #[command(after_help = EXIT_POLICY)]
    Policy(PolicyArgs),
    /// Ask the DNS, and say how well the answer is proven
    #[command(after_help = EXIT_DNS)]
    Dns(DnsArgs),
    /// Show the trust anchors of DNSSEC, what became of their keys, and where nothing is validated
    #[command(after_help = EXIT_ANCHORS)]
    Anchors(AnchorsArgs),
    /// Check certificate chains against TLSA records
    #[command(subcommand)]
    Dane(DaneCommand),
    /// Look at the mail that waits, and steer it
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Look at TLS reports, ours and those of others, and take in theirs
    #[command(subcommand)]
    Report(ReportCommand),
    /// The MTA-STS policies that byrnie publishes, and the DNS records that belong to them
    #[command(subcommand)]
    MtaSts(MtaStsCommand),
    /// Check a configuration file, or print every setting with its default
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    #[command(after_help = EXIT_PRINTED)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff
    #[command(after_help = EXIT_PRINTED)]
    Man,
}

/// Which configuration holds.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// The configuration; default: /etc/byrnie/byrnie.toml, or every default if that does not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file that is read, if it exists.
    pub(crate) fn path(&self) -> &Path {
        self.config
            .as_deref()
            .unwrap_or_else(|| Path::new(DEFAULT_PATH))
    }
}

/// What replaces the configuration's own words on how to resolve.
#[derive(Args, Debug)]
#[command(next_help_heading = "Instead of the configuration's settings")]
pub(crate) struct ResolveArgs {
    /// A resolver to ask; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) dns_server: Vec<SocketAddr>,
    /// Trust anchors: DS or DNSKEY lines
    #[arg(long, value_name = "FILE")]
    pub(crate) trust_anchor: Option<PathBuf>,
    /// More roots besides the public authorities, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The port of the hosts that serve MTA-STS policies
    #[arg(long, value_name = "N")]
    pub(crate) https_port: Option<u16>,
}

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Run one service alone, without taking or sending mail
    #[arg(long, value_name = "SERVICE")]
    pub(crate) only: Option<Only>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) resolve: ResolveArgs,
}

/// A service that can be run alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Only {
    /// Telling other mail servers how mail to a domain must go (`[policyd]`)
    Policyd,
    /// Public pages (`[web]`)
    Web,
}

/// Arguments of `top`.
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    /// Print what is going on once
    #[arg(long)]
    pub(crate) once: bool,
    /// Print one JSON object; without `--once`, one per second and line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `reload`.
#[derive(Args, Debug)]
pub(crate) struct ReloadArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `policy`.
#[derive(Args, Debug)]
pub(crate) struct PolicyArgs {
    /// The recipient domains
    #[arg(required = true)]
    pub(crate) domains: Vec<DomainName>,
    /// Print one JSON object per domain and line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) resolve: ResolveArgs,
}

/// Arguments of `dns`.
#[derive(Args, Debug)]
pub(crate) struct DnsArgs {
    /// The name
    #[arg(required_unless_present = "batch", requires = "record_type")]
    pub(crate) name: Option<String>,
    /// The type, such as A, AAAA, MX, TLSA, TXT or TYPE52
    #[arg(value_name = "TYPE")]
    pub(crate) record_type: Option<String>,
    /// Ask every question in a file of lines `NAME TYPE`, and print the answers in the same order;
    /// `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub(crate) batch: Option<PathBuf>,
    /// How many questions of a batch are asked at once
    #[arg(long, value_name = "N", default_value = "16", requires = "batch")]
    pub(crate) concurrency: NonZeroUsize,
    /// Print one JSON object per answer and line; a batch always does
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) resolve: ResolveArgs,
}

/// Arguments of `anchors`.
#[derive(Args, Debug)]
pub(crate) struct AnchorsArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// What can be done with policies of our own.
#[derive(Debug, Subcommand)]
pub(crate) enum MtaStsCommand {
    /// Print policies with the records that belong to them, and what stands in the DNS
    #[command(after_help = EXIT_MTA_STS)]
    Show(MtaStsArgs),
    /// Look for what is wrong with policies, in the DNS and at the policy host
    #[command(after_help = EXIT_MTA_STS)]
    Lint(MtaStsArgs),
    /// Give a policy another id, so that every sender fetches it anew
    #[command(after_help = EXIT_MTA_STS_BUMP)]
    Bump(MtaStsBumpArgs),
}

/// Arguments of `mta-sts show` and `mta-sts lint`.
#[derive(Args, Debug)]
pub(crate) struct MtaStsArgs {
    /// The policy domains; all of the configuration if left out
    pub(crate) domains: Vec<DomainName>,
    /// Print one JSON object per domain and line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) resolve: ResolveArgs,
}

/// Arguments of `mta-sts bump`.
#[derive(Args, Debug)]
pub(crate) struct MtaStsBumpArgs {
    /// The policy domain
    pub(crate) domain: DomainName,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// What can be done with chains.
#[derive(Debug, Subcommand)]
pub(crate) enum DaneCommand {
    /// Does this chain satisfy these TLSA records?
    #[command(after_help = EXIT_DANE_VERIFY)]
    Verify(DaneVerifyArgs),
}

/// Arguments of `dane verify`.
#[derive(Args, Debug)]
pub(crate) struct DaneVerifyArgs {
    /// A TLSA record, such as "3 1 1 0123…"; may be given several times
    #[arg(long, value_name = "RECORD", required = true)]
    pub(crate) tlsa: Vec<String>,
    /// The certificates as the host sends them, PEM, its own first
    #[arg(long, value_name = "FILE")]
    pub(crate) chain: PathBuf,
    /// A name that the certificate may carry, the TLSA base domain first; usage 2 needs one
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<DomainName>,
    /// The time at which it is checked; default: now
    #[arg(long, value_name = "RFC3339")]
    pub(crate) at: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be done with the queue.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// List the mail that waits, oldest first
    #[command(after_help = EXIT_QUEUE)]
    List(QueueListArgs),
    /// Say how much waits, in which state, where to and why
    #[command(after_help = EXIT_QUEUE)]
    Count(QueueListArgs),
    /// Say everything about one message: what it is, and each attempt with its receipt
    #[command(after_help = EXIT_QUEUE)]
    Show(QueueOneArgs),
    /// Say in words why a message or the mail to a domain waits, what comes next, and what you can do
    #[command(after_help = EXIT_QUEUE)]
    Why(QueueWhyArgs),
    /// Try mail again now
    #[command(after_help = EXIT_QUEUE)]
    Retry(QueueSomeArgs),
    /// Keep mail back until it is released
    #[command(after_help = EXIT_QUEUE)]
    Hold(QueueSomeArgs),
    /// Let mail that was held go on
    #[command(after_help = EXIT_QUEUE)]
    Release(QueueSomeArgs),
    /// Remove mail for ever, without a bounce
    #[command(after_help = EXIT_QUEUE)]
    Remove(QueueSomeArgs),
    /// Compare every message with its checksums, beside the running gateway
    #[command(after_help = EXIT_QUEUE_VERIFY)]
    Verify(QueueVerifyArgs),
    /// Copy the spool as it is now to a folder, beside the running gateway, and check the copy
    #[command(after_help = EXIT_QUEUE_VERIFY)]
    Backup(QueueBackupArgs),
}

/// Which mail, for every command alike: what passes all that is given.
#[derive(Args, Debug)]
pub(crate) struct QueueFilterArgs {
    /// Queue ids of messages
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Only what goes to this domain, or to this address in brackets
    #[arg(long, value_name = "DOMAIN", help_heading = FILTER)]
    pub(crate) domain: Option<MailDomain>,
    /// Only from this address or domain; "<>" is bounces
    #[arg(long, value_name = "SENDER", help_heading = FILTER)]
    pub(crate) from: Option<String>,
    /// Only to this recipient
    #[arg(long, value_name = "ADDRESS", help_heading = FILTER)]
    pub(crate) to: Option<Mailbox>,
    /// Only in this state: incoming, deferred, hold or corrupt
    #[arg(long, value_name = "STATE", help_heading = FILTER)]
    pub(crate) state: Option<String>,
    /// Only if the reason why it waits has this text in it
    #[arg(long, value_name = "TEXT", help_heading = FILTER)]
    pub(crate) reason: Option<String>,
    /// Only what came before that, such as 90m or 2d
    #[arg(long, value_name = "AGE", help_heading = FILTER)]
    pub(crate) older_than: Option<Span>,
    /// Only what came since then, such as 90m or 2d
    #[arg(long, value_name = "AGE", help_heading = FILTER)]
    pub(crate) newer_than: Option<Span>,
    /// No more than so many
    #[arg(long, value_name = "N", help_heading = FILTER)]
    pub(crate) limit: Option<u32>,
}

/// Over the filters in the help.
const FILTER: &str = "Which mail";

/// Arguments of `queue list` and `queue count`.
#[derive(Args, Debug)]
pub(crate) struct QueueListArgs {
    #[command(flatten)]
    pub(crate) filter: QueueFilterArgs,
    /// Print JSON: one object per delivery and line, or one in all
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `queue show`.
#[derive(Args, Debug)]
pub(crate) struct QueueOneArgs {
    /// The message's queue id
    pub(crate) id: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `queue why`.
#[derive(Args, Debug)]
pub(crate) struct QueueWhyArgs {
    /// A message's queue id, or a domain that mail goes to
    #[arg(value_name = "ID|DOMAIN")]
    pub(crate) what: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of the commands that steer mail.
#[derive(Args, Debug)]
pub(crate) struct QueueSomeArgs {
    #[command(flatten)]
    pub(crate) filter: QueueFilterArgs,
    /// All mail in the queue
    #[arg(long, conflicts_with_all = FILTERS, help_heading = FILTER)]
    pub(crate) all: bool,
    /// Only say what would be changed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// What leaves mail out, and so contradicts `--all`.
const FILTERS: [&str; 9] = [
    "ids",
    "domain",
    "from",
    "to",
    "state",
    "reason",
    "older_than",
    "newer_than",
    "limit",
];

/// Arguments of `queue verify`.
#[derive(Args, Debug)]
pub(crate) struct QueueVerifyArgs {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `queue backup`.
#[derive(Args, Debug)]
pub(crate) struct QueueBackupArgs {
    /// The folder for the copy, empty or to be made; `queue.spool` can name it later
    pub(crate) folder: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// What can be done with reports.
#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// Take in reports from files: mails, mailboxes, JSON, compressed or not
    #[command(after_help = EXIT_REPORT_IMPORT)]
    Import(ReportImportArgs),
    /// Look at TLS reports
    #[command(subcommand)]
    Tlsrpt(TlsrptCommand),
}

/// Arguments of `report import`.
#[derive(Args, Debug)]
pub(crate) struct ReportImportArgs {
    /// Files, folders with all that is in them (Maildir too), or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) from: Vec<PathBuf>,
    /// Print one JSON object per item and line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// What can be seen of TLS reports.
#[derive(Debug, Subcommand)]
pub(crate) enum TlsrptCommand {
    /// List the reports of others, and what could not be read, newest first
    #[command(after_help = EXIT_REPORT)]
    List(TlsrptSinceArgs),
    /// Show one report of others with all that is in it
    #[command(after_help = EXIT_REPORT)]
    Show(TlsrptShowArgs),
    /// Add up what others report: per organization, policy and failure
    #[command(after_help = EXIT_REPORT)]
    Summary(TlsrptSinceArgs),
    /// Say what a domain will be told about a day of our deliveries, or was
    #[command(after_help = EXIT_REPORT)]
    Preview(TlsrptPreviewArgs),
    /// List our reports to others: those that wait, were sent or were given up
    #[command(after_help = EXIT_REPORT)]
    Outgoing(TlsrptOutgoingArgs),
}

/// Arguments of `report tlsrpt preview`.
#[derive(Args, Debug)]
pub(crate) struct TlsrptPreviewArgs {
    /// The recipient domain
    pub(crate) domain: DomainName,
    /// The day, of UTC; default: today
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) day: Option<Day>,
    /// Print the report as it is sent
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `report tlsrpt outgoing`.
#[derive(Args, Debug)]
pub(crate) struct TlsrptOutgoingArgs {
    /// No more than so many, those first that changed last
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) limit: u32,
    /// Print one JSON object per destination and line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `report tlsrpt list` and `summary`.
#[derive(Args, Debug)]
pub(crate) struct TlsrptSinceArgs {
    /// Only what is about the time since then, such as 90m or 30d
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub(crate) since: Span,
    /// Print JSON: one object per report and line, or one in all
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `report tlsrpt show`.
#[derive(Args, Debug)]
pub(crate) struct TlsrptShowArgs {
    /// The report's number, as `list` prints it
    pub(crate) number: i64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Arguments of `lab`.
#[derive(Args, Debug)]
pub(crate) struct LabArgs {
    /// Run this scenario alone; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Vec<String>,
    /// List the scenarios and run none
    #[arg(long, conflicts_with_all = ["scenario", "keep"])]
    pub(crate) list: bool,
    /// Keep the lab running afterwards, and say how to send mail into it
    #[arg(long)]
    pub(crate) keep: bool,
    /// Let every answer from the lab's DNS take this long, such as 20ms
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub(crate) dns_delay: Span,
    /// Print one JSON object per event and line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be done with configurations.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file and every file that it names
    #[command(after_help = EXIT_CONFIG_CHECK)]
    Check(ConfigCheckArgs),
    /// Print every setting with its default and a comment
    #[command(after_help = EXIT_PRINTED)]
    Defaults,
}

/// Arguments of `config check`.
#[derive(Args, Debug)]
pub(crate) struct ConfigCheckArgs {
    /// The file; default: /etc/byrnie/byrnie.toml
    pub(crate) file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// For commands that print and cannot fail otherwise.
const EXIT_PRINTED: &str = "\
Exit codes:
  0  printed
  2  bad usage";

const EXIT_SERVE: &str = "\
Exit codes:
  0  stopped by SIGTERM or SIGINT, with nothing lost
  1  could not start or go on; why is said on standard error
  2  bad usage or a bad configuration";

const EXIT_TOP: &str = "\
Exit codes:
  0  ended by q, Ctrl-C or a signal, or printed
  1  no gateway runs on the spool, or it does not answer
  2  bad usage, a bad configuration, or no terminal";

const EXIT_RELOAD: &str = "\
Exit codes:
  0  the configuration is in force, but for the changes that are said to need a restart
  1  no gateway runs on the spool, or it does not answer
  2  bad usage or a bad configuration; everything stays as it was";

const EXIT_LAB: &str = "\
Exit codes:
  0  every scenario came out as it must
  1  at least one did not, or the lab could not be built
  2  bad usage";

const EXIT_POLICY: &str = "\
Exit codes:
  0  a verdict was printed for every domain, whatever it is
  1  the resolver or the policy store cannot be used at all
  2  bad usage, a bad configuration or unreadable input";

const EXIT_DNS: &str = "\
Exit codes:
  0  an answer was printed for every question, whatever its status
  1  the resolver cannot be used at all
  2  bad usage, a bad configuration or unreadable input";

const EXIT_ANCHORS: &str = "\
Exit codes:
  0  every anchor can be used, or the resolver validates
  1  every key of an anchor is revoked, or the spool cannot be used
  2  bad usage or a bad configuration";

const EXIT_REPORT: &str = "\
Exit codes:
  0  done
  1  no such report, or the spool cannot be used
  2  bad usage or a bad configuration";

const EXIT_REPORT_IMPORT: &str = "\
Exit codes:
  0  every item is a report, and kept now or since earlier
  1  at least one item could not be read or kept; which and why was printed
  2  bad usage or a bad configuration";

const EXIT_MTA_STS: &str = "\
Exit codes:
  0  nothing is wrong with the policies, but perhaps advice is given
  1  something is wrong with one, or resolver or spool cannot be used
  2  bad usage or a bad configuration";

const EXIT_MTA_STS_BUMP: &str = "\
Exit codes:
  0  the policy has another id
  1  it was not published yet, or the spool cannot be used
  2  bad usage or a bad configuration";

const EXIT_DANE_VERIFY: &str = "\
Exit codes:
  0  the chain satisfies the records
  1  it does not; why is said
  2  bad usage or unreadable input";

const EXIT_QUEUE: &str = "\
Exit codes:
  0  done
  1  no such message, or the spool cannot be used
  2  bad usage or a bad configuration";

const EXIT_QUEUE_VERIFY: &str = "\
Exit codes:
  0  done, and everything is whole
  1  something is damaged; it is named, and never sent. Or the spool or the file cannot be used
  2  bad usage or a bad configuration";

const EXIT_CONFIG_CHECK: &str = "\
Exit codes:
  0  the configuration is good
  2  it is not, or cannot be read; what is wrong, and on which line, is said on standard error";
