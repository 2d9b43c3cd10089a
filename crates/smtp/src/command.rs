//! Commands: RFC 5321, Section 4.1, with the parameters of the extensions that byrnie speaks.

use std::fmt;

use byrnie_base::DomainName;
use byrnie_base::InvalidMailbox;
use byrnie_base::MailDomain;
use byrnie_base::Mailbox;

use crate::BodyType;
use crate::EnhancedStatus;
use crate::Reply;
use crate::ReversePath;
use crate::Smtputf8;
use crate::TlsDemand;

/// A command from a client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// `BDAT`: RFC 3030.
    Bdat(Chunk),
    /// `DATA`.
    Data,
    /// `EHLO`, with the client's name or address.
    Ehlo(MailDomain),
    /// `EXPN`.
    Expn,
    /// `HELO`, with the client's name or address.
    Helo(MailDomain),
    /// `HELP`.
    Help,
    /// `MAIL`.
    Mail(MailFrom),
    /// `NOOP`.
    Noop,
    /// `QUIT`.
    Quit,
    /// `RCPT`.
    Rcpt(RcptTo),
    /// `RSET`.
    Rset,
    /// `STARTTLS`: RFC 3207.
    StartTls,
    /// `VRFY`.
    Vrfy,
}

impl Command {
    /// Reads a line without its line end.
    ///
    /// # Errors
    /// Says what is wrong at which octet.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let text = str::from_utf8(line)
            .map_err(|error| InvalidCommand::NotUtf8.at(error.valid_up_to()))?;
        if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(InvalidCommand::ControlCharacter.at(at));
        }
        //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1
        //# In the interest of improved interoperability, SMTP receivers SHOULD
        //# tolerate trailing white space before the terminating <CRLF>.
        let mut cursor = Cursor::new(text.trim_end_matches(' '));
        let verb = cursor.word();
        match verb.to_ascii_uppercase().as_str() {
            "BDAT" => Chunk::parse(&mut cursor).map(Self::Bdat),
            "DATA" => cursor.end().map(|()| Self::Data),
            "EHLO" => client_name(&mut cursor).map(Self::Ehlo),
            "EXPN" => cursor.argument().map(|_| Self::Expn),
            "HELO" => client_name(&mut cursor).map(Self::Helo),
            "HELP" => Ok(Self::Help),
            "MAIL" => MailFrom::parse(&mut cursor).map(Self::Mail),
            "NOOP" => Ok(Self::Noop),
            "QUIT" => cursor.end().map(|()| Self::Quit),
            "RCPT" => RcptTo::parse(&mut cursor).map(Self::Rcpt),
            "RSET" => cursor.end().map(|()| Self::Rset),
            "STARTTLS" => cursor.end().map(|()| Self::StartTls),
            "VRFY" => cursor.argument().map(|_| Self::Vrfy),
            _ => Err(InvalidCommand::UnknownVerb.at(0)),
        }
    }
}

/// `MAIL FROM`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailFrom {
    /// Where bounces go.
    pub reverse_path: ReversePath,
    /// How many octets the client says that the message has: RFC 1870.
    pub size: Option<u64>,
    /// What octets the client says that the message has: RFC 6152.
    pub body: BodyType,
    /// Whether addresses or header may hold UTF-8: RFC 6531.
    pub smtputf8: Smtputf8,
    /// What the message demands of TLS: RFC 8689.
    pub tls_demand: TlsDemand,
}

impl MailFrom {
    /// Reads what follows the verb.
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, CommandError> {
        cursor.keyword("FROM:")?;
        let path = Path::parse(cursor)?;
        let reverse_path = path
            .mailbox
            .parse()
            .map_err(|why| InvalidCommand::BadSender(why).at(path.at))?;
        let mut mail = Self {
            reverse_path,
            size: None,
            body: BodyType::SevenBit,
            smtputf8: Smtputf8::NotUsed,
            tls_demand: TlsDemand::None,
        };
        let mut seen = Vec::new();
        while let Some(parameter) = Parameter::parse(cursor)? {
            if seen.contains(&parameter.keyword) {
                return Err(InvalidCommand::DuplicateParameter.at(parameter.at));
            }
            mail.apply(&parameter)?;
            seen.push(parameter.keyword);
        }
        if mail.smtputf8 == Smtputf8::NotUsed && !path.mailbox.is_ascii() {
            return Err(InvalidCommand::NeedsSmtputf8.at(path.at));
        }
        Ok(mail)
    }

    /// Applies one parameter.
    fn apply(&mut self, parameter: &Parameter<'_>) -> Result<(), CommandError> {
        let bad_value = || InvalidCommand::BadParameterValue.at(parameter.at);
        match (parameter.keyword.as_str(), parameter.value) {
            ("SIZE", Some(value)) => self.size = Some(decimal(value).ok_or_else(bad_value)?),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => {
                self.body = BodyType::SevenBit;
            }
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                self.body = BodyType::EightBitMime;
            }
            ("SMTPUTF8", None) => self.smtputf8 = Smtputf8::Used,
            ("REQUIRETLS", None) => self.tls_demand = TlsDemand::RequireTls,
            ("SIZE" | "BODY" | "SMTPUTF8" | "REQUIRETLS", _) => return Err(bad_value()),
            _ => return Err(InvalidCommand::UnknownParameter.at(parameter.at)),
        }
        Ok(())
    }
}

/// `RCPT TO`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RcptTo {
    /// Who is to get the message.
    pub path: ForwardPath,
    /// Whether UTF-8 stands in the path.
    pub smtputf8: Smtputf8,
}

impl RcptTo {
    /// Reads what follows the verb.
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, CommandError> {
        cursor.keyword("TO:")?;
        let path = Path::parse(cursor)?;
        if let Some(parameter) = Parameter::parse(cursor)? {
            return Err(InvalidCommand::UnknownParameter.at(parameter.at));
        }
        // RFC 5321, Section 4.1.1.3: `<Postmaster>` needs no domain.
        let forward_path = if path.mailbox.eq_ignore_ascii_case("postmaster") {
            ForwardPath::Postmaster
        } else {
            let mailbox = path.mailbox.parse();
            ForwardPath::Mailbox(
                mailbox.map_err(|why| InvalidCommand::BadRecipient(why).at(path.at))?,
            )
        };
        let smtputf8 = if path.mailbox.is_ascii() {
            Smtputf8::NotUsed
        } else {
            Smtputf8::Used
        };
        Ok(Self {
            path: forward_path,
            smtputf8,
        })
    }
}

/// Who is to get a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain: whoever runs this server.
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// What `BDAT` announces: RFC 3030, Section 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// How many octets follow the command line.
    pub octets: u64,
    /// Whether the message ends with them.
    pub position: ChunkPosition,
}

impl Chunk {
    /// Reads what follows the verb.
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, CommandError> {
        let (at, size) = cursor.argument()?;
        let (size, rest) = size.split_once(' ').unwrap_or((size, ""));
        let octets = decimal(size).ok_or_else(|| InvalidCommand::BadChunkSize.at(at))?;
        let position = match rest.trim_start_matches(' ') {
            "" => ChunkPosition::Inner,
            word if word.eq_ignore_ascii_case("LAST") => ChunkPosition::Last,
            _ => return Err(InvalidCommand::UnexpectedArgument.at(at + size.len() + 1)),
        };
        Ok(Self { octets, position })
    }
}

/// Whether a message ends with a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChunkPosition {
    /// Another chunk follows.
    Inner,
    /// The message ends with this chunk.
    Last,
}

/// What is wrong with a command, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CommandError {
    /// The octet of the line, counted from 1.
    pub octet: usize,
    /// What is wrong.
    pub why: InvalidCommand,
}

impl CommandError {
    /// What to answer.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (code, enhanced) = match self.why {
            InvalidCommand::BadChunkSize
            | InvalidCommand::BadClientName(_)
            | InvalidCommand::BadParameterValue
            | InvalidCommand::BadSourceRoute
            | InvalidCommand::DuplicateParameter
            | InvalidCommand::Expected(_)
            | InvalidCommand::JunkAfterPath
            | InvalidCommand::MissingArgument
            | InvalidCommand::NoClosingBracket
            | InvalidCommand::NoOpeningBracket
            | InvalidCommand::UnexpectedArgument => (501, EnhancedStatus::new(5, 5, 4)),
            InvalidCommand::BadRecipient(_) => (501, EnhancedStatus::new(5, 1, 3)),
            InvalidCommand::BadSender(_) => (501, EnhancedStatus::new(5, 1, 7)),
            InvalidCommand::ControlCharacter | InvalidCommand::NotUtf8 => {
                (500, EnhancedStatus::new(5, 5, 2))
            }
            InvalidCommand::NeedsSmtputf8 => (553, EnhancedStatus::new(5, 6, 7)),
            InvalidCommand::UnknownParameter => (555, EnhancedStatus::new(5, 5, 4)),
            InvalidCommand::UnknownVerb => (500, EnhancedStatus::new(5, 5, 1)),
        };
        Reply::new(code, enhanced, self.to_string())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "octet {}: {}", self.octet, self.why)
    }
}

impl std::error::Error for CommandError {}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidCommand {
    /// `BDAT` is not followed by a number of octets.
    BadChunkSize,
    /// The client's name is neither a domain name nor an address literal.
    BadClientName(InvalidMailbox),
    /// A known parameter with a value that it cannot have, or without one that it needs.
    BadParameterValue,
    /// What stands between the angle brackets of `RCPT TO` is no mailbox.
    BadRecipient(InvalidMailbox),
    /// What stands between the angle brackets of `MAIL FROM` is no mailbox.
    BadSender(InvalidMailbox),
    /// The path begins with `@`, but not with a source route.
    BadSourceRoute,
    /// A control character, of which none may stand in a command.
    ControlCharacter,
    /// A parameter that was given before.
    DuplicateParameter,
    /// The verb must be followed by this.
    Expected(&'static str),
    /// The path is followed by something other than a space.
    JunkAfterPath,
    /// The verb needs an argument.
    MissingArgument,
    /// UTF-8 in an address, without the parameter `SMTPUTF8` of `MAIL FROM`.
    NeedsSmtputf8,
    /// No `>` ends the path.
    NoClosingBracket,
    /// No `<` begins the path.
    NoOpeningBracket,
    /// The octets are no UTF-8.
    NotUtf8,
    /// The verb takes no argument, or not this one.
    UnexpectedArgument,
    /// A parameter of an extension that was not offered.
    UnknownParameter,
    /// A verb that is no command.
    UnknownVerb,
}

impl InvalidCommand {
    /// The error at an octet counted from 0.
    fn at(self, index: usize) -> CommandError {
        CommandError {
            octet: index + 1,
            why: self,
        }
    }
}

impl fmt::Display for InvalidCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadChunkSize => f.write_str("BDAT wants a number of octets"),
            Self::BadClientName(why) => write!(f, "bad client name: {why}"),
            Self::BadParameterValue => f.write_str("the parameter cannot have this value"),
            Self::BadRecipient(why) => write!(f, "bad recipient: {why}"),
            Self::BadSender(why) => write!(f, "bad sender: {why}"),
            Self::BadSourceRoute => f.write_str("the source route is malformed"),
            Self::ControlCharacter => f.write_str("control characters have no place in a command"),
            Self::DuplicateParameter => f.write_str("the parameter is given twice"),
            Self::Expected(what) => write!(f, "{what} is missing"),
            Self::JunkAfterPath => f.write_str("only a space and parameters may follow the path"),
            Self::MissingArgument => f.write_str("an argument is missing"),
            Self::NeedsSmtputf8 => {
                f.write_str("an address in UTF-8 needs the parameter SMTPUTF8 in MAIL FROM")
            }
            Self::NoClosingBracket => f.write_str("no > ends the path"),
            Self::NoOpeningBracket => f.write_str("no < begins the path"),
            Self::NotUtf8 => f.write_str("the command is not UTF-8"),
            Self::UnexpectedArgument => f.write_str("this argument is not understood"),
            Self::UnknownParameter => f.write_str("this parameter is not offered"),
            Self::UnknownVerb => f.write_str("unknown command"),
        }
    }
}

/// `EHLO` and `HELO`: RFC 5321, Section 4.1.1.1.
fn client_name(cursor: &mut Cursor<'_>) -> Result<MailDomain, CommandError> {
    let (at, name) = cursor.argument()?;
    name.parse()
        .map_err(|why| InvalidCommand::BadClientName(why).at(at))
}

/// What stands between the angle brackets, without a source route.
#[derive(Clone, Copy, Debug)]
struct Path<'a> {
    /// The mailbox as it was written; empty in the null path.
    mailbox: &'a str,
    /// Where it begins.
    at: usize,
}

impl<'a> Path<'a> {
    /// Reads `<…>`; spaces before it are tolerated, as many clients send one.
    fn parse(cursor: &mut Cursor<'a>) -> Result<Self, CommandError> {
        cursor.spaces();
        if !cursor.take("<") {
            return Err(InvalidCommand::NoOpeningBracket.at(cursor.at));
        }
        let end = closing_bracket(cursor.rest)
            .ok_or_else(|| InvalidCommand::NoClosingBracket.at(cursor.at + cursor.rest.len()))?;
        let mut at = cursor.at;
        let mut mailbox = cursor.advance(end);
        cursor.take(">");
        if !cursor.rest.is_empty() && !cursor.rest.starts_with(' ') {
            return Err(InvalidCommand::JunkAfterPath.at(cursor.at));
        }
        if mailbox.starts_with('@') {
            let route =
                source_route(mailbox).ok_or_else(|| InvalidCommand::BadSourceRoute.at(at))?;
            at += route;
            mailbox = mailbox.get(route..).unwrap_or_default();
        }
        Ok(Self { mailbox, at })
    }
}

/// How long the source route is that the text begins with, its colon included.
///
/// RFC 5321, Section 4.1.1.3: routes are accepted, and ignored.
fn source_route(text: &str) -> Option<usize> {
    let (route, _) = text.split_once(':')?;
    let hosts_are_names = route.split(',').all(|host| {
        host.strip_prefix('@')
            .is_some_and(|name| name.parse::<DomainName>().is_ok())
    });
    hosts_are_names.then_some(route.len() + 1)
}

/// Where the `>` stands that is not part of a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(at),
            _ => {}
        }
        None
    })
}

/// `KEYWORD` or `KEYWORD=value`: `esmtp-param` of RFC 5321, Section 4.1.2.
#[derive(Clone, Debug)]
struct Parameter<'a> {
    /// In upper case.
    keyword: String,
    /// What follows the `=`.
    value: Option<&'a str>,
    /// Where it begins.
    at: usize,
}

impl<'a> Parameter<'a> {
    /// Reads the next parameter, if there is one.
    fn parse(cursor: &mut Cursor<'a>) -> Result<Option<Self>, CommandError> {
        cursor.spaces();
        let at = cursor.at;
        let word = cursor.word();
        if word.is_empty() {
            return Ok(None);
        }
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        if value.is_some_and(|value| value.is_empty() || value.contains('=')) {
            return Err(InvalidCommand::BadParameterValue.at(at));
        }
        Ok(Some(Self {
            keyword: keyword.to_ascii_uppercase(),
            value,
            at,
        }))
    }
}

/// A number of at most 20 digits: `size-value` of RFC 1870, `chunk-size` of RFC 3030.
fn decimal(text: &str) -> Option<u64> {
    let digits = matches!(text.len(), 1..=20) && text.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A place in a line.
#[derive(Debug)]
struct Cursor<'a> {
    /// What has not been read.
    rest: &'a str,
    /// How many octets have been read.
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The start of a line.
    fn new(text: &'a str) -> Self {
        Self { rest: text, at: 0 }
    }

    /// Reads so many octets; nothing where that is no boundary of a character.
    fn advance(&mut self, octets: usize) -> &'a str {
        let (read, rest) = self
            .rest
            .split_at_checked(octets)
            .unwrap_or(("", self.rest));
        self.at += read.len();
        self.rest = rest;
        read
    }

    /// Reads up to the next space.
    fn word(&mut self) -> &'a str {
        self.advance(self.rest.find(' ').unwrap_or(self.rest.len()))
    }

    /// Reads spaces.
    fn spaces(&mut self) {
        self.advance(self.rest.len() - self.rest.trim_start_matches(' ').len());
    }

    /// Reads a text without regard to case, if it stands here.
    fn take(&mut self, text: &str) -> bool {
        let found = self
            .rest
            .get(..text.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(text));
        if found {
            self.advance(text.len());
        }
        found
    }

    /// Reads a word that must follow the verb.
    fn keyword(&mut self, keyword: &'static str) -> Result<(), CommandError> {
        self.spaces();
        if self.take(keyword) {
            return Ok(());
        }
        Err(InvalidCommand::Expected(keyword).at(self.at))
    }

    /// Reads all that follows the verb, which must be something.
    fn argument(&mut self) -> Result<(usize, &'a str), CommandError> {
        self.spaces();
        if self.rest.is_empty() {
            return Err(InvalidCommand::MissingArgument.at(self.at));
        }
        let at = self.at;
        Ok((at, self.advance(self.rest.len())))
    }

    /// Nothing may follow the verb.
    fn end(&mut self) -> Result<(), CommandError> {
        self.spaces();
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(InvalidCommand::UnexpectedArgument.at(self.at))
    }
}

#[cfg(test)]
mod tests {
    use byrnie_base::InvalidDomainName;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn verbs_are_read_without_case_and_with_trailing_spaces() {
        check("quit", Command::Quit);
        check("DATA  ", Command::Data);
        check("StartTls", Command::StartTls);
        check("rset", Command::Rset);
        check("NOOP with text", Command::Noop);
        check("HELP MAIL", Command::Help);
        check("VRFY someone", Command::Vrfy);
        check("EXPN list", Command::Expn);
        check(
            "EHLO Mail.Example.",
            Command::Ehlo("mail.example".parse().unwrap()),
        );
        check(
            "helo [192.0.2.1]",
            Command::Helo("[192.0.2.1]".parse().unwrap()),
        );
        let literal = "[IPv6:2001:db8::1]".parse().unwrap();
        check("EHLO [IPv6:2001:db8::1]", Command::Ehlo(literal));
    }

    #[test]
    fn chunks_are_announced_with_their_size() {
        let chunk = |octets, position| Command::Bdat(Chunk { octets, position });
        check("BDAT 86", chunk(86, ChunkPosition::Inner));
        check("bdat 0 last", chunk(0, ChunkPosition::Last));
        refuse("BDAT", 5, InvalidCommand::MissingArgument);
        refuse("BDAT -1", 6, InvalidCommand::BadChunkSize);
        refuse("BDAT 99999999999999999999", 6, InvalidCommand::BadChunkSize);
        refuse("BDAT 5 FIRST", 8, InvalidCommand::UnexpectedArgument);
    }

    #[test]
    fn paths_are_read_without_their_source_route() {
        check("MAIL FROM:<>", mail(""));
        check("MAIL FROM:<a@example.org>", mail("a@example.org"));
        check("mail from: <a@example.org>", mail("a@example.org"));
        check(
            "MAIL FROM:<@r.example,@s.example:a@example.org>",
            mail("a@example.org"),
        );
        check(
            "MAIL FROM:<\"a>\\\"b\"@example.org>",
            mail("\"a>\\\"b\"@example.org"),
        );
        check("RCPT TO:<b@example.org>", rcpt("b@example.org"));
        check("RCPT TO:<@r.example:b@example.org>", rcpt("b@example.org"));
        let postmaster = RcptTo {
            path: ForwardPath::Postmaster,
            smtputf8: Smtputf8::NotUsed,
        };
        check("RCPT TO:<PostMaster>", Command::Rcpt(postmaster));
    }

    #[test]
    fn parameters_of_mail_are_read() {
        let line = "MAIL FROM:<grüße@example.org> SIZE=1000 body=8bitmime SMTPUTF8 RequireTLS";
        let expected = MailFrom {
            reverse_path: "grüße@example.org".parse().unwrap(),
            size: Some(1_000),
            body: BodyType::EightBitMime,
            smtputf8: Smtputf8::Used,
            tls_demand: TlsDemand::RequireTls,
        };
        check(line, Command::Mail(expected));
        check("MAIL FROM:<a@example.org> BODY=7BIT", mail("a@example.org"));
    }

    #[test]
    fn what_is_no_command_is_refused_with_the_place() {
        refuse("", 1, InvalidCommand::UnknownVerb);
        refuse("XYZZY", 1, InvalidCommand::UnknownVerb);
        refuse("GET / HTTP/1.1", 1, InvalidCommand::UnknownVerb);
        refuse("DATA now", 6, InvalidCommand::UnexpectedArgument);
        refuse("EHLO", 5, InvalidCommand::MissingArgument);
        refuse(
            "EHLO a b",
            6,
            InvalidCommand::BadClientName(InvalidMailbox::Domain(InvalidDomainName::BadCharacter(
                ' ',
            ))),
        );
        refuse("MAIL a@b", 6, InvalidCommand::Expected("FROM:"));
        refuse("MAIL FROM:a@b", 11, InvalidCommand::NoOpeningBracket);
        refuse("MAIL FROM:<a@b", 15, InvalidCommand::NoClosingBracket);
        refuse("MAIL FROM:<a@b>x", 16, InvalidCommand::JunkAfterPath);
        refuse("MAIL FROM:<@:a@b>", 12, InvalidCommand::BadSourceRoute);
        refuse(
            "MAIL FROM:<@r:a b@c>",
            15,
            InvalidCommand::BadSender(InvalidMailbox::BadLocalPart),
        );
        refuse(
            "RCPT TO:<>",
            10,
            InvalidCommand::BadRecipient(InvalidMailbox::NoAt),
        );
        refuse(
            "RCPT TO:<b@c> NOTIFY=NEVER",
            15,
            InvalidCommand::UnknownParameter,
        );
        refuse("MAIL FROM:<> AUTH=<>", 14, InvalidCommand::UnknownParameter);
        refuse(
            "MAIL FROM:<> BODY=BINARYMIME",
            14,
            InvalidCommand::BadParameterValue,
        );
        refuse("MAIL FROM:<> SIZE", 14, InvalidCommand::BadParameterValue);
        refuse("MAIL FROM:<> SIZE=", 14, InvalidCommand::BadParameterValue);
        refuse(
            "MAIL FROM:<> SIZE=1x",
            14,
            InvalidCommand::BadParameterValue,
        );
        refuse(
            "MAIL FROM:<> SMTPUTF8=1",
            14,
            InvalidCommand::BadParameterValue,
        );
        refuse(
            "MAIL FROM:<> SIZE=1 SIZE=1",
            21,
            InvalidCommand::DuplicateParameter,
        );
        refuse("MAIL FROM:<ü@b>", 12, InvalidCommand::NeedsSmtputf8);
        refuse("NOOP a\tb", 7, InvalidCommand::ControlCharacter);
        refuse("NOOP \0", 6, InvalidCommand::ControlCharacter);
        let error = Command::parse(b"NOOP \xff").unwrap_err();
        assert_eq!(error, InvalidCommand::NotUtf8.at(5));
    }

    #[test]
    fn refusals_name_the_place_and_the_reason() {
        let reply = |line: &str| {
            Command::parse(line.as_bytes())
                .unwrap_err()
                .reply()
                .to_string()
        };
        assert_eq!(reply("XYZZY"), "500 5.5.1 octet 1: unknown command");
        assert_eq!(
            reply("MAIL FROM:<> RET=FULL"),
            "555 5.5.4 octet 14: this parameter is not offered"
        );
        assert_eq!(
            reply("RCPT TO:<a b@c>"),
            "501 5.1.3 octet 10: bad recipient: \
             the local part is neither a dot-string nor a quoted string"
        );
    }

    proptest! {
        #[test]
        fn no_octets_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn nothing_behind_a_verb_panics(
            verb in "(MAIL FROM:|RCPT TO:|BDAT |EHLO )",
            rest in "[<>@,:\"\\\\ a-zü=.0-9\\[\\]]{0,60}",
        ) {
            let line = format!("{verb}{rest}");
            if let Err(error) = Command::parse(line.as_bytes()) {
                prop_assert!(error.octet <= line.len() + 1);
            }
        }
    }

    /// `MAIL FROM` without parameters.
    fn mail(path: &str) -> Command {
        Command::Mail(MailFrom {
            reverse_path: path.parse().unwrap(),
            size: None,
            body: BodyType::SevenBit,
            smtputf8: Smtputf8::NotUsed,
            tls_demand: TlsDemand::None,
        })
    }

    /// `RCPT TO`.
    fn rcpt(path: &str) -> Command {
        Command::Rcpt(RcptTo {
            path: ForwardPath::Mailbox(path.parse().unwrap()),
            smtputf8: Smtputf8::NotUsed,
        })
    }

    #[track_caller]
    fn check(line: &str, expected: Command) {
        assert_eq!(Command::parse(line.as_bytes()), Ok(expected), "{line:?}");
    }

    #[track_caller]
    fn refuse(line: &str, octet: usize, why: InvalidCommand) {
        let error = Err(CommandError { octet, why });
        assert_eq!(Command::parse(line.as_bytes()), error, "{line:?}");
    }
}
