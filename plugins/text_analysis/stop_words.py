"""English words that carry no subject. Data only."""

STOP_WORDS = frozenset(
    """
a able about above across after afterwards again against ago ain't all almost alone along already also although always
am among amongst an and another any anybody anyhow anyone anything anyway anywhere are aren't around as aside ask at
away back be became because become becomes been before beforehand behind being below beside besides best better
between beyond both but by came can can't cannot come comes could couldn't did didn't do does doesn't doing don't done
down during each either else elsewhere enough etc even ever every everybody everyone everything everywhere far few
first for former from further gave get gets getting give given gives go goes going gone got had hadn't has hasn't have
haven't having he he'd he'll he's hence her here here's hers herself him himself his how how's however i i'd i'll i'm
i've if in indeed instead into is isn't it it'd it'll it's its itself just keep keeps kept know known knows last later
latter least less let let's like likely made mainly make makes making many may maybe me mean means meanwhile might
mine more moreover most mostly much must mustn't my myself namely near nearly neither never nevertheless next no
nobody none nor not nothing now nowhere of off often oh ok okay on once one ones only onto or other others otherwise
ought our ours ourselves out over own per perhaps please put quite rather re really said same say says see seem seemed
seems seen several shall shan't she she'd she'll she's should shouldn't since so some somebody somehow someone
something sometimes somewhere soon still such take taken takes than that that's the their theirs them themselves then
there there's therefore these they they'd they'll they're they've thing things this those though through throughout
thus to together too took toward towards tried tries try trying two under unless until unto up upon us use used uses
using usually very via want wants was wasn't way we we'd we'll we're we've well went were weren't what what's whatever
when when's whenever where where's whereas wherever whether which while whither who who's whoever whole whom whose why
why's will with within without won't would wouldn't yes yet you you'd you'll you're you've your yours yourself
yourselves
""".split()
)
