"""The rules of header_checks, body_checks and access tables that the guides of administrators print.

Used by test-corpus/scenarios/tools, which asks each rule alone, and test-corpus/suites/config_differential.py, which asks
them as the tables they stand in.
"""

# The rules that the guides of administrators print: pattern, action, what it must match and what it must not.
GOLDEN = (
    ("PAT1", "regexp", "/^date:.*/i", "REJECT", "date: x", "Date: Mon, 6 Jan 2003 10:00:00 +0100"),
    ("PAT2", "regexp", "/^date:.*$/i", "REJECT", "date: x", "Date: Mon, 6 Jan 2003 10:00:00 +0100"),
    ("PAT3", "regexp", "/^Content-Disposition: Multipart message/",
     "REJECT", "content-disposition: Multipart message", "Content-Disposition: inline"),
    ("PAT4", "regexp", "/^X-Unsent: 1/", "REJECT", "X-Unsent: 1", "X-Unsent: 0"),
    ("PAT5", "regexp", '/^From: ".*" <_/', "REJECT", 'From: "Ana" <_ana@x.es>', 'From: "Ana" <ana@x.es>'),
    ("PAT6", "regexp", "/^Subject: new photos from my party!/",
     "REJECT", "SUBJECT: New Photos from my party! hi", "Subject: photos from my party!"),
    ("PAT7", "regexp", "/^Subject: Re: Your password!/",
     "REJECT", "Subject: Re: Your password! x", "Subject: Re: Your password"),
    ("PAT8", "regexp", "/Accept Credit Cards/", "REJECT", "we accept credit cards here", "Accept cards"),
    ("PAT9", "regexp", "/Nude Celebrities/", "REJECT", "NUDE CELEBRITIES", "Nude  Celebrities"),
    ("PAT10", "regexp", "/PRODUCT or SERVICE/", "REJECT", "your product or service", "product and service"),
    ("PAT11", "regexp", "/GUARANTEED!/", "REJECT", "is guaranteed!", "guaranteed"),
    ("PAT12", "regexp", "/Amateur Girls/", "REJECT", "amateur girls", "amateur girl"),
    ("PAT13", "regexp", "/FREE MEMBERSHIP/", "REJECT", "free membership", "freemembership"),
    ("PAT14", "regexp", "/bizinfo/", "REJECT", "http://bizinfo.example", "biz info"),
    ("PAT15", "regexp", '/(filename|name)="(Happy99|Navidad|prettypark)\\.exe"/',
     "REJECT", ' filename="happy99.EXE"', " filename=happy99.exe"),
    ("PAT16", "regexp", '/(filename|name)="(pretty park|zipped_files|flcss)\\.exe"/',
     "REJECT", ' name="pretty park.exe"', ' name="prettypark.ex"'),
    ("PAT17", "regexp", '/(filename|name)="(Msinit|wininit|msi216)\\.exe"/',
     "REJECT", ' name="wininit.exe"', ' name="wininit.ini"'),
    ("PAT18", "regexp", '/(filename|name)="(Avp_updates|Qi_test|Anti_cih)\\.exe"/',
     "REJECT", ' name="Anti_cih.exe"', ' name="Anti-cih.exe"'),
    ("PAT19", "regexp", '/(filename|name)="(Emanuel|kmbfejkm|NakedWife)\\.exe"/',
     "REJECT", ' name="NakedWife.exe"', ' name="NakedWife.exe.txt"'),
    ("PAT20", "regexp", '/(filename|name)="(Seicho_no_ie|JAMGCJJA|Sulfnbk|decrypt-password)\\.exe"/',
     "REJECT", ' name="decrypt-password.exe"', ' name="decrypt_password.exe"'),
    ("PAT21", "regexp", "/(kak|day)\\.(reg|hta)/", "REJECT", "see today.reg", "see kak.txt"),
    ("PAT22", "regexp", "/Rem I am sorry.*/", "REJECT", "rem i am sorry", "I am sorry"),
    ("PAT23", "regexp", "/Te mando este archivo para que me des tu punto de vista/",
     "REJECT", "te mando este archivo para que me des tu punto de vista", "Te mando este fichero"),
    ("PAT24", "regexp", "/I send you this file in order to have your advice/",
     "REJECT", "I send you this file in order to have your advice", "I send you this file"),
    ("PAT25", "regexp", "/Espero me puedas ayudar con el archivo que te mando/",
     "REJECT", "Espero me puedas ayudar con el archivo que te mando", "Espero que me puedas ayudar con el archivo que te mando"),
    ("PAT26", "regexp", "/Espero te guste este archivo que te mando/",
     "REJECT", "Espero te guste este archivo que te mando", "Espero que te guste"),
    ("PAT27", "regexp", "/Este es el archivo con la información que me pediste/",
     "REJECT", "Este es el archivo con la información que me pediste", "Este es el archivo con la informacion que me pediste"),
    ("PAT28", "regexp", '/(filename|name)=".*\\.(asd|chm|dll|hlp|hta|js|ocx|pif)"/',
     "REJECT", ' filename="a.PIF"', ' filename="a.pif.txt"'),
    ("PAT29", "regexp", '/(filename|name)=".*\\.(scr|shb|shs|vb|vbe|vbs|wsf|wsh)"/',
     "REJECT", ' filename="a.scr"', " filename=a.scr"),
    ("PAT30", "regexp", '/(filename|name)=".*\\.\\{.*\\}"/', "REJECT", ' filename="a.{00020810-0000}"', ' filename="a.{0002"'),
    ("PAT31", "regexp", '/(\\<IFrame\\ src\\=\\"|\\<IFRAME\\ src\\=\\"|\\<IFRAME\\ SRC\\=\\")/',
     "REJECT", '<iframe src="cid:x"', '<iframe  src="cid:x"'),
    ("PAT32", "regexp", '/(\\<IFrame\\ src\\=\\"|\\<IFRAME\\ src\\=\\"|\\<IFRAME\\ SRC\\=\\")/',
     "REJECT", 'iframe src="no-angle"', 'xiframe src="x"'),
    ("PAT33", "pcre", "/^begin\\s+\\d{3}\\s+.+?\\.(bat|chm|cmd|com|hta|jse?|pif|scr|shb|vb[esx]|ws[fh])\\b/",
     "REJECT", "begin 644 foo.scr", "begin 644 foo.txt"),
    ("PAT34", "pcre", '/^\\s+(file)?name="?.+?\\.(bat|chm|cmd|com|hta|jse?|pif|scr|shb|vb[esx]|ws[fh])\\b/',
     "REJECT", " filename=foo.js", 'Content-Type: a/b; name="x.vbs"'),
    ("PAT35", "pcre", "/^From: Hahaha <hahaha@sexyfun.net>$/",
     "REJECT", "From: Hahaha <hahaha@sexyfun.net>", "From: Hahaha <hahaha@sexyfun.net> (x)"),
    ("PAT36", "pcre", "/^Subject: Enanito si, pero con que pedazo!$/",
     "REJECT", "subject: enanito si, pero con que pedazo!", "Subject: Enanito si, pero con que pedazo! :)"),
    ("PAT37", "pcre", "/^Subject: Re: Your password!$/",
     "REJECT Estas infectado con el Frethem. Desinfectate.", "Subject: Re: Your password!", "Subject: Re: Your password! x"),
    ("PAT38", "regexp", "/^to: *amigo@publico.com$/", "REJECT", "To: amigo@publico.com", "To: miamigo@publico.com"),
    ("PAT39", "regexp", "/keyword/", "REJECT", "KEYWORD inside", "key word"),
    ("PAT40", "regexp", "/^amigo@dominio1.com.*/", "OK", "amigo@dominio1.com", "miamigo@dominio1.com"),
    ("PAT41", "regexp", "/^postmaster@.*$/", "RELAY", "postmaster@x.test", "xpostmaster@x.test"),
    ("PAT42", "regexp", "/[aA][cC]v@subdominio.*$/", "REJECT", "aCv@subdominio.x", "acw@subdominio.x"),
    ("PAT43", "regexp", "/hahaha/", "550 Esto es un vil SPAM", "HAHAHA@x", "haha@x"),
)

# As the guides print them: the tables, by the rules that they hold.
TABLES = {"header_checks": range(1, 8), "body_checks": range(8, 15), "anti_virus": range(15, 33),
          "pcre_anti_virus": range(33, 35), "cabeceras": range(35, 38), "header_checks_amigo": range(38, 39),
          "body_checks_keyword": range(39, 40), "access": range(40, 44)}


def table(name):
    """Type and text of one of TABLES."""
    rows = {int(row[0][3:]): row for row in GOLDEN}
    chosen = [rows[n] for n in TABLES[name]]
    return chosen[0][1], "".join("%s %s\n" % (row[2], row[3]) for row in chosen)
