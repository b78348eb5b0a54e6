"""Who decides when, and who is told what: deciders, channels and layers. No single protocol is known here."""
