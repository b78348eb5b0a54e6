"""Who decides when, and who receives what: deciders, channels and layers. No single protocol is known here."""
