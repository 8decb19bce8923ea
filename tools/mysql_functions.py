"""The functions without effects of MySQL and MariaDB: reviewed by name, and known to a real server.

Neither engine says of its built-in functions whether they have effects, so that only names that were reviewed here pass: they read
nothing but their arguments, the clock, the session's time zone or randomness, and they change nothing. The server tells which of them
are its own: a call of a name that it does not know fails with an error of its own (1305), and such a name could be anybody's stored
function. Left out on purpose: SLEEP, BENCHMARK, LOAD_FILE, the locks, LAST_INSERT_ID and other state of the session, NEXTVAL and
LASTVAL, names of users, databases and versions, replication, UUID (the machine's address), ENCRYPT, DES_*, ENCODE, XPath (which reads
user variables), and NAME_CONST.
Source: https://mariadb.com/kb/en/built-in-functions/ and https://dev.mysql.com/doc/refman/8.4/en/built-in-function-reference.html
"""

from __future__ import annotations

import pymysql
from sqlalchemy.engine import make_url

__all__ = ["MYSQL_REVIEWED", "mysql_functions", "server_functions"]

_UNKNOWN_FUNCTION = 1305

_REVIEWED = """
abs acos add_months adddate addtime aes_decrypt aes_encrypt ascii asin atan atan2 avg bin bit_and bit_count bit_length bit_or bit_xor
ceil ceiling char_length character_length charset chr coalesce coercibility collation compress concat concat_ws conv convert_tz cos cot
count crc32 crc32c cume_dist curdate current_date current_time current_timestamp curtime date date_add date_format date_sub datediff
day dayname dayofmonth dayofweek dayofyear degrees dense_rank elt exp export_set field find_in_set first_value floor format from_base64
from_days from_unixtime get_format greatest hex hour if ifnull inet6_aton inet6_ntoa inet_aton inet_ntoa insert instr is_ipv4
is_ipv4_compat is_ipv4_mapped is_ipv6 isnull json_array json_array_append json_array_insert json_arrayagg json_compact json_contains
json_contains_path json_depth json_detailed json_equals json_exists json_extract json_insert json_keys json_length json_loose json_merge
json_merge_patch json_merge_preserve json_normalize json_object json_objectagg json_overlaps json_pretty json_query json_quote
json_remove json_replace json_search json_set json_type json_unquote json_valid json_value lag last_day last_value lcase lead least left
length ln localtime localtimestamp locate log log10 log2 lower lpad ltrim make_set makedate maketime max md5 median microsecond mid min
minute mod month monthname natural_sort_key now nth_value ntile nullif nvl nvl2 oct octet_length ord percent_rank percentile_cont
percentile_disc period_add period_diff pi pow power quarter quote radians rand random_bytes rank regexp_instr regexp_replace
regexp_substr repeat replace reverse right round row_number rpad rtrim sec_to_time second sha sha1 sha2 sign sin soundex space sqrt std
stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring_index subtime sum sysdate tan time time_format time_to_sec
timediff timestamp timestampadd timestampdiff to_base64 to_char to_days to_seconds truncate ucase uncompress uncompressed_length unhex
unix_timestamp upper utc_date utc_time utc_timestamp var_pop var_samp variance week weekday weekofyear year yearweek
st_area st_asbinary st_asgeojson st_astext st_boundary st_buffer st_centroid st_contains st_convexhull st_crosses st_difference
st_dimension st_disjoint st_distance st_distance_sphere st_endpoint st_envelope st_equals st_exteriorring st_geometryn st_geometrytype
st_geomfromgeojson st_geomfromtext st_geomfromwkb st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_isring
st_issimple st_length st_linefromtext st_numgeometries st_numinteriorrings st_numpoints st_overlaps st_pointfromtext st_pointn
st_pointonsurface st_polyfromtext st_relate st_srid st_startpoint st_symdifference st_touches st_union st_within st_x st_y
"""
_OF_MYSQL = """
any_value bin_to_uuid grouping is_uuid json_schema_valid json_storage_size regexp_like st_geohash st_isvalid st_latfromgeohash
st_longfromgeohash st_simplify st_validate uuid_to_bin
"""
"""Of MySQL 8 alone; the engine refuses one that is a stored function on the server at hand."""

MYSQL_REVIEWED = frozenset(_REVIEWED.split())


def mysql_functions(urls: list[str]) -> set[str]:
    """Returns the reviewed names that at least one of the servers calls its own, and those of MySQL 8.

    Args:
        urls: `mysql://user@host:port/` of servers.

    Raises:
        ValueError: No server knows a name that was reviewed, so that the list has a mistake.
    """
    known = set().union(*(server_functions(url) for url in urls))
    if missing := MYSQL_REVIEWED - known:
        raise ValueError(f"no server knows {', '.join(sorted(missing))}")
    return set(MYSQL_REVIEWED) | set(_OF_MYSQL.split())


def server_functions(url: str) -> set[str]:
    """Returns the reviewed names that a server calls its own."""
    target = make_url(url)
    with pymysql.connect(
        host=target.host, port=target.port or 3306, user=target.username, password=target.password or ""
    ) as server:
        return {name for name in MYSQL_REVIEWED if _is_known(server, name)}


def _is_known(server: pymysql.connections.Connection, name: str) -> bool:
    """A call without arguments fails with another error, or succeeds, for every name that the grammar or the server has."""
    with server.cursor() as cursor:
        try:
            cursor.execute(f"SELECT {name}()")
        except pymysql.MySQLError as error:
            return bool(error.args[0] != _UNKNOWN_FUNCTION)
    return True
