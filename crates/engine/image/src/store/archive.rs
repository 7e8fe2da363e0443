//! Images as archives: OCI layouts and the format of `docker save`.
