//! Who reports, by the configuration.

use byrnie_mta::Submitter;

use crate::config::File;

/// Who reports; `None` if nobody is to be told of anything.
pub(crate) fn submitter(file: &File) -> Option<Submitter> {
    let settings = &file.tlsrpt;
    let domain = settings.domain()?.clone();
    let organization = settings.organization.clone();
    Some(Submitter {
        organization: organization.unwrap_or_else(|| domain.to_string()),
        contact: settings.contact.as_ref()?.to_string(),
        from: settings.sender()?.clone(),
        domain,
    })
}
