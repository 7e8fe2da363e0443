//! The devices that all files together have.

use crate::edits::apply;
use crate::error::CdiError;
use crate::spec::{Device, Scalar, Spec};
use hako_oci::runtime::Spec as RuntimeSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The devices that all files together have.
#[derive(Debug)]
pub struct Devices {
    directories: Vec<PathBuf>,
    by_name: BTreeMap<String, Entry>,
    faults: Vec<CdiError>,
}

/// Where a device is described.
#[derive(Clone, Debug)]
struct Place {
    directory: PathBuf,
    file: PathBuf,
    spec: Arc<Spec>,
    index: usize,
}

#[derive(Debug)]
enum Entry {
    One(Place),
    /// Two files of one directory have it: neither counts.
    Many {
        directory: PathBuf,
        first: PathBuf,
        second: PathBuf,
    },
}

/// A device that is there.
#[derive(Debug)]
pub struct Found<'a> {
    place: &'a Place,
}

impl Devices {
    pub(crate) fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, by_name: BTreeMap::new(), faults: Vec::new() }
    }

    pub(crate) fn fault(&mut self, error: CdiError) {
        tracing::debug!(%error, "a CDI file is not used");
        self.faults.push(error);
    }

    /// Takes a file's devices in; those of an earlier directory step back.
    pub(crate) fn add(&mut self, directory: &Path, file: &Path, spec: Spec) {
        let spec = Arc::new(spec);
        for (index, device) in spec.devices.iter().enumerate() {
            let name = format!("{}={}", spec.kind, device.name);
            let first = match self.by_name.get(&name) {
                Some(Entry::One(known)) if known.directory == directory => Some(known.file.clone()),
                Some(Entry::Many { directory: known, first, .. }) if known == directory => {
                    Some(first.clone())
                }
                _ => None,
            };
            let (directory, file) = (directory.to_owned(), file.to_owned());
            let entry = match first {
                Some(first) => Entry::Many { directory, first, second: file },
                None => Entry::One(Place { directory, file, spec: Arc::clone(&spec), index }),
            };
            self.by_name.insert(name, entry);
        }
    }

    /// The full names of all devices that can be asked for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let usable = self.by_name.iter().filter(|(_, entry)| matches!(entry, Entry::One(_)));
        usable.map(|(name, _)| name.as_str())
    }

    /// The device of that full name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Found<'_>> {
        match self.by_name.get(name)? {
            Entry::One(place) => Some(Found { place }),
            Entry::Many { .. } => None,
        }
    }

    /// What is wrong with files that were not used.
    #[must_use]
    pub fn faults(&self) -> &[CdiError] {
        &self.faults
    }

    /// Why there is no such device.
    #[must_use]
    pub fn missing(&self, name: &str) -> CdiError {
        if let Some(Entry::Many { first, second, .. }) = self.by_name.get(name) {
            return CdiError::Conflict {
                name: name.to_owned(),
                first: first.clone(),
                second: second.clone(),
            };
        }
        let places: Vec<String> = self.directories.iter().map(|path| path.display().to_string()).collect();
        let places = places.join(" and ");
        let known: Vec<&str> = self.names().collect();
        let known = match known.is_empty() {
            true => format!("no device is described in {places}"),
            false => format!("{places} have {}", known.join(", ")),
        };
        let faults = self.faults.iter().map(|fault| format!("; {fault}")).collect();
        CdiError::Unknown { name: name.to_owned(), known, faults }
    }

    /// Changes a container's specification as the devices say: what a file says for all of its devices once, then
    /// each device. Nothing is changed when one of them cannot be had.
    ///
    /// # Errors
    /// The first device that is not there, or whose node this machine has not.
    pub fn inject<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        spec: &mut RuntimeSpec,
    ) -> Result<(), CdiError> {
        let (mut changed, mut files, mut done) = (spec.clone(), BTreeSet::new(), BTreeSet::new());
        for name in names {
            let place = self.get(name).ok_or_else(|| self.missing(name))?.place;
            if !done.insert(name) {
                continue;
            }
            if files.insert(&place.file) {
                apply(name, &place.spec.container_edits, &mut changed)?;
            }
            apply(name, &place.device().container_edits, &mut changed)?;
        }
        *spec = changed;
        Ok(())
    }
}

impl Place {
    fn device(&self) -> &Device {
        &self.spec.devices[self.index]
    }
}

impl Found<'_> {
    /// The value of an annotation: the device's, else the file's.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<String> {
        let of_device = self.place.device().annotations.get(name);
        of_device.or_else(|| self.place.spec.annotations.get(name)).map(Scalar::text)
    }
}
