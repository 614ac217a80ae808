"""The probe engine beside its peers, over loopback and over a world of its own."""
