"""Resolve: what the student still gets wrong goes back to the teacher."""
