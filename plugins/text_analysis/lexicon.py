"""Feelings of English words, from -4 to 4, written for this plugin. Data, and the look-up that folds simple
inflections.

Irony, quotation and the subject of a feeling are beyond a word list.
"""

from __future__ import annotations

_SCORES = {
    3.4: """
        amazing awesome brilliant ecstatic exceptional excellent extraordinary fabulous fantastic flawless
        incredible magnificent marvelous marvellous masterpiece miraculous outstanding perfect phenomenal
        spectacular stellar stunning sublime superb superlative terrific thrilled wonderful best overjoyed
    """,
    2.8: """
        adore beautiful beloved bliss delight delighted delightful elated excited exciting exquisite
        gorgeous great happiest happy impressive inspiring joy joyful love lovely paradise passionate
        rejoice remarkable splendid thrilling thrive triumph unforgettable victory wow captivating
        breathtaking heavenly
    """,
    2.2: """
        admire affectionate appreciate bravo celebrate charming cheerful cherish clever creative dazzling
        elegant embrace enchanting enjoy enjoyable enthusiastic entertaining fascinating friendly fun funny
        generous genius glad gifted good gracious grateful hero honest hug impress inspire intelligent kind
        laugh loyal nice pleasant pleased pleasure praise pretty profit proud recommend reward satisfied
        satisfying smart smile smooth succeed success successful superior sweet talented thank thankful
        thanks trust treasure win winner wise witty worthy yay hilarious cozy cosy delicious tasty yummy
        refreshing effortless intuitive
    """,
    1.5: """
        able accurate accomplish achieve adequate advantage affordable agree approve assure attractive award
        benefit better bless bold bonus bright calm capable careful caring clean clear comfortable comfort
        compassion confident congratulations convenient convincing cool courage courteous cute dear
        dedicated desirable eager ease easy effective efficient encourage engaging fair faithful famous
        favorite favourite fine flexible fond forgive fresh gain gem gentle gift handy harmony healthy help
        helpful hope hopeful ideal improve improvement innovative interesting like lively lucky merry modern
        neat nicely optimistic peace peaceful polite popular positive powerful precious productive progress
        promising prompt protect quick ready recover reliable relief relax relaxing respect responsive rich
        robust safe secure sincere solid solve spacious strong stable stylish support supportive sunny
        thoughtful tidy useful valuable vibrant warm welcome well willing worth fast
    """,
    0.8: """
        accept alive allow aware active alright cheap correct decent familiar free fit fix grand interest
        okay ok popularity quality quiet resolve share simple sure true won natural acceptable
    """,
    -0.8: """
        alone anyway cheaply cost dull expensive forget hard hesitant limited mediocre noisy ordinary pale
        plain quit silly slow small strange stuck tight tired uncertain unsure unclear wait weird average
        lacking missing old
    """,
    -1.5: """
        abrupt absent accuse afraid aggressive alarm annoy annoyance annoying anxious argue ashamed avoid
        awkward bitter blame blind block bore bored boring bother broken bug buggy burden careless cheat
        clumsy cold complain complaint complicated concern confuse confused confusing crash crazy crowded
        cry damage danger deny dirty disagree difficult difficulty dislike dismal disturb doubt embarrassing
        empty error escape exhausted exhausting fault fear flaw flawed flimsy foolish fragile fuss greedy
        grumpy guilty hurt ignore inconvenient incorrect inferior insecure irritate irritating lack lag
        laggy lazy leak lie lonely loose lose loss lost mess messy misleading mistake moan nervous odd
        outdated overpriced pain poor poorly pressure problem reject refuse regret restless risk risky rough
        rude rush scare scared shaky shallow shock sick skeptical sloppy smelly sore sorry stain stale
        stress stressful struggle stubborn sue suspicious tedious tense tiring trouble unable unfair
        unfortunate unfortunately unhelpful unreliable unstable upset useless vague vulnerable warn waste
        weak worried worry worthless wrong disorganized complicate delay delayed scratch scratched cramped
        bland soggy greasy unresponsive unusable unimpressed underwhelming
    """,
    -2.2: """
        abandon angry anger bad betray bitterly bully chaos corrupt crisis cruel dead defeat defective
        depressed depressing despair destroy disappoint disappointed disappointing disappointment disaster
        disgrace disgusted dishonest distress dread dumb enemy evil fail failed failure fake fool fraud
        frustrate frustrated frustrating frustration furious garbage gloomy greed grief gross guilt harm
        harsh hateful heartbroken helpless hopeless hostile idiot ignorant inept insult junk jealous kill
        liar loser lousy mad misery moron nasty negative offensive outrage pathetic pity poison punish rage
        ridiculous ruin ruined sad scam scary shame shameful sorrow steal stupid suck suffer terrified
        terrify threat trash ugly unacceptable unhappy unpleasant victim violent war weep wicked wound worse
        rotten stink dreary insulting rip-off regretful sadness
    """,
    -3.1: """
        abuse abusive agony appalling atrocious awful catastrophe catastrophic despicable devastated
        devastating detest disgust disgusting dreadful excruciating filthy ghastly hate hated hatred hell
        hideous horrendous horrible horrid horrific horrify inexcusable loathe miserable murder nightmare
        rape repulsive revolting sickening terrible terribly terror terrorist torture toxic traumatic
        tragedy tragic unbearable vile worst abysmal abomination
    """,
}

SCORES: dict[str, float] = {word: score for score, words in _SCORES.items() for word in words.split()}

# Signs that stand for a feeling by themselves.
SIGNS: dict[str, float] = {
    ":)": 2.0,
    ":-)": 2.0,
    ":D": 2.6,
    ":-D": 2.6,
    ";)": 1.4,
    ";-)": 1.4,
    "<3": 2.6,
    "^^": 1.6,
    "xD": 2.2,
    "XD": 2.2,
    ":(": -2.0,
    ":-(": -2.0,
    ":'(": -2.6,
    ":/": -1.2,
    ":-/": -1.2,
    ">:(": -2.6,
    "D:": -1.8,
    "</3": -2.6,
    "😀": 2.4,
    "😃": 2.4,
    "😄": 2.4,
    "😁": 2.4,
    "😊": 2.4,
    "🙂": 1.6,
    "😍": 3.0,
    "🥰": 3.0,
    "😘": 2.4,
    "😂": 1.8,
    "🤣": 1.8,
    "👍": 2.0,
    "👏": 2.0,
    "🎉": 2.4,
    "❤": 2.8,
    "💕": 2.8,
    "🔥": 1.4,
    "✨": 1.4,
    "💯": 2.2,
    "🙏": 1.2,
    "😎": 1.8,
    "😞": -2.0,
    "😢": -2.2,
    "😭": -2.2,
    "😡": -3.0,
    "😠": -2.6,
    "🤬": -3.2,
    "👎": -2.0,
    "💔": -2.6,
    "😱": -1.6,
    "🤮": -3.0,
    "🙁": -1.6,
    "😤": -1.6,
    "😩": -2.0,
    "😒": -1.6,
    "💩": -2.0,
}

NEGATIONS = frozenset(
    """
        aint arent barely cannot cant couldnt didnt doesnt dont hadnt hardly hasnt havent isnt lacks neither
        never no nobody none nor not nothing nowhere rarely scarcely seldom shouldnt wasnt werent without
        wont wouldnt
    """.split()
)

# What the word before, or two before, adds to a feeling's strength.
_STRENGTHENING = """
    absolutely amazingly completely considerably deeply enormously entirely especially exceptionally extremely
    fully greatly highly hugely incredibly insanely intensely majorly most particularly purely really remarkably
    so strongly such super thoroughly total totally tremendously truly unbelievably utterly very
"""
_WEAKENING = """
    almost fairly kinda kind-of less little marginally moderately occasionally partly quite rather slightly
    somewhat sort-of
"""
INTENSIFIERS: dict[str, float] = {
    **dict.fromkeys(_STRENGTHENING.split(), 0.3),
    **dict.fromkeys(_WEAKENING.split(), -0.3),
}

_ENDINGS = (
    ("iest", "y"),
    ("ier", "y"),
    ("ies", "y"),
    ("ied", "y"),
    ("ily", "y"),
    ("iness", "y"),
    ("ingly", ""),
    ("ingly", "e"),
    ("edly", ""),
    ("edly", "e"),
    ("ness", ""),
    ("ing", ""),
    ("ing", "e"),
    ("est", ""),
    ("est", "e"),
    ("ers", ""),
    ("er", ""),
    ("er", "e"),
    ("ed", ""),
    ("ed", "e"),
    ("es", ""),
    ("s", ""),
    ("ly", ""),
    ("y", ""),
    ("d", ""),
)


def score_of(word: str) -> float:
    """The feeling of a lower-case word; 0 for a neutral one. Falls back to the word without its ending."""
    if word in SCORES:
        return SCORES[word]
    for ending, replacement in _ENDINGS:
        if len(word) - len(ending) >= 3 and word.endswith(ending):
            stem = word[: -len(ending)] + replacement
            if stem in SCORES:
                return SCORES[stem]
            # `winning` has a doubled consonant before its ending.
            if not replacement and len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in SCORES:
                return SCORES[stem[:-1]]
    return 0.0
