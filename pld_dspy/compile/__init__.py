"""One compile under way: checked inputs, the stages in turn, the result built from what they found."""
