"""Every answer, stored by content; the only place where calls and tokens are counted."""
