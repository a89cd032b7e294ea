"""The words of the generated micro-rules: what happened to what, how it is said, and what surrounds it."""

from __future__ import annotations

SUBJECTS = {
    "orders": ("order", "purchase", "basket"),
    "delivery": ("parcel", "package", "shipment"),
    "billing": ("invoice", "bill", "charge"),
    "accounts": ("account", "login", "profile"),
    "cards": ("debit card", "credit card", "card"),
    "transfers": ("transfer", "bank transfer", "wire"),
    "phones": ("handset", "phone", "mobile"),
    "internet": ("broadband line", "router", "internet connection"),
    "travel": ("flight", "booking", "ticket"),
    "insurance": ("policy", "claim", "insurance cover"),
}
EVENTS = {
    "late": ("arrives days late", "is days later than promised", "did not arrive on the promised day", "arrived late"),
    "lost": ("got lost on the way", "vanished on the way", "seems lost without a trace", "vanished without a trace"),
    "broken": ("came broken, with a crack", "has a crack in a corner", "broke at once", "is broken in a corner"),
    "double": ("was booked twice", "is twice on the statement", "is a duplicate on the statement", "is a duplicate"),
    "refund": ("should be refunded in full", "waits for a refund", "was refunded in part", "needs a refund in full"),
    "cancel": (
        "is to be cancelled",
        "was cancelled by mistake",
        "should not be cancelled",
        "has a cancellation mistake",
    ),
    "address": ("has the wrong address", "went to the old address", "needs a new address", "has an old, wrong street"),
    "password": (
        "rejects the password",
        "needs a password reset",
        "is locked after a reset",
        "is locked by a password",
    ),
    "upgrade": ("should get an upgrade", "offers a premium upgrade", "went premium unasked", "was upgraded to premium"),
    "fraud": ("looks like fraud", "was used by a thief", "may be a fraud", "was used by a stranger, a thief"),
    "fee": ("carries an unknown fee", "shows a hidden fee", "has hidden costs", "comes with unknown costs"),
    "limit": ("is over the daily limit", "has too low a limit", "reached its daily maximum", "has too low a maximum"),
}
RARE = {
    "press": ("journalist", "asks for an interview", "wants an interview for an article"),
    "legal": ("solicitor", "threatens a lawsuit", "announces a lawsuit in court"),
    "accessibility": ("screen reader", "cannot read the page", "finds the page unreadable for the blind"),
}
TEMPLATES = (
    "If the {subject} {event}, {answer} {label}{filler}.",
    "When a {writer} {says} that the {subject} {event}{filler}, {answer} {label}, not {other}.",
    "A {subject} that {event} {means} {label}{filler}.",
    "{Answer} {label} whenever a {writer} {says} that their {subject} {event}{filler}.",
    "The {subject} {event}: this {means} {label}{filler}, never {other}.",
    "{Answer} {label} over {other} where the {subject} {event}{filler}.",
)
ANSWERS = ("answer", "choose", "pick", "select", "take", "decide for", "go for", "settle on")
MEANINGS = ("means", "points to", "signals", "indicates", "speaks for", "calls for", "belongs to", "suggests")
WRITERS = ("customer", "message", "writer", "sender", "caller", "user", "note", "mail", "client", "person")
VERBS = ("says", "writes", "states", "complains", "mentions", "reports", "notes", "claims", "explains", "tells")
FILLERS = (
    "",
    "",
    ", however {mood} the {writer}",
    ", even if the {writer} is {mood}",
    " although a {thing} is {told}",
    ", whatever the {thing}",
    " and no {thing} is {told}",
    ", even where a {thing} was {told}",
    " no matter which {thing} is {told}",
    ", also when a {mood} {writer} brings up the {thing}",
)
MOODS = (
    "angry", "polite", "calm", "worried", "tired", "cheerful", "curt", "grateful", "puzzled", "sarcastic",
    "rude", "shy", "loud", "bitter", "friendly", "sad", "proud", "formal", "anxious", "bored",
)  # fmt: skip
THINGS = (
    "weekday", "amount", "shop", "holiday", "colleague", "relative", "city", "reason", "deadline", "photo",
    "promise", "branch", "voucher", "colour", "season", "receipt", "neighbour", "website", "manager",
    "birthday", "country", "number", "discount", "brand", "weather", "competitor", "gift", "newspaper",
    "school", "hospital",
)  # fmt: skip
TELLINGS = ("named", "given", "hinted at", "described", "attached", "quoted", "repeated", "left out", "shown")
FORMATS = (
    "Answer with one word only.",
    "Output only the label, in lowercase.",
    "Do not add any explanation to the answer.",
    "Respond with exactly one of the given labels and nothing else.",
    "Always return the label without quotation marks.",
    "Never write punctuation after the label.",
    "Give the answer as a single word, without a full sentence.",
    "Your response must be valid JSON with one field.",
    "Keep the output short: only the label name.",
    "Write the label exactly as it is spelled in the list.",
)
STRAY = (
    "umbrella", "violin", "harvest", "glacier", "pepper", "lantern", "orchard", "saddle", "compass", "velvet",
    "thunder", "bakery", "marble", "feather", "anchor", "puzzle", "canyon", "whistle", "blanket", "meadow",
    "pigeon", "copper", "candle", "ribbon", "tunnel", "acorn", "cactus", "helmet", "pillow", "rocket",
)  # fmt: skip
