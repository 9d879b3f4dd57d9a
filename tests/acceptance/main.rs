//! Promises and real input under load, against the release binary. `make acceptance` runs them.
