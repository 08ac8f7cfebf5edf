/* SPDX-License-Identifier: Apache-2.0 */
/* The schemas, as they stand in the OpenAPI document. */
#include "server/schemas.h"

#include "base/util.h"

/* clang-format off */
static const struct api_schema schemas[] = {
    {"Any",
     "{\"type\":\"object\"}"},
    {"Text",
     "{\"type\":\"string\"}"},
    {"Bytes",
     "{\"description\":\"As it was put\"}"},
    {"Problem",
     "{\"type\":\"object\",\"required\":[\"type\",\"title\",\"status\"],\"properties\":{\"type\":{\"type\""
     ":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":"
     "\"string\"},\"instance\":{\"type\":\"string\"},\"parameter\":{\"type\":\"string\",\"description\":\""
     "Which parameter is at fault\"},\"code\":{\"type\":\"string\",\"description\":\"Name of the status\"}"
     "}}"},
    {"Ready",
     "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\",\"enum\":[\"ok\",\"degraded\"]}"
     ",\"redis\":{\"type\":\"string\"},\"store\":{\"type\":\"string\"}},\"required\":[\"status\",\"redis\""
     ",\"store\"]}"},
    {"Info",
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"version\":{\"type\":\"string\""
     "},\"host\":{\"type\":\"string\"},\"pid\":{\"type\":\"integer\"},\"started_ms\":{\"type\":\"integer\""
     "},\"now_ms\":{\"type\":\"integer\"},\"store\":{\"type\":\"boolean\"},\"redis\":{\"type\":\"boolean\""
     "},\"dashboard\":{\"type\":\"boolean\",\"description\":\"Built in: / is its page\"},\"openapi\":{\"type\""
     ":\"string\"}},\"required\":[\"name\",\"version\",\"host\",\"pid\",\"started_ms\",\"now_ms\",\"store\""
     ",\"redis\",\"dashboard\",\"openapi\"]}"},
    {"Config",
     "{\"type\":\"object\",\"properties\":{\"file\":{\"type\":[\"string\",\"null\"]},\"settings\":{\"type"
     "\":\"array\",\"items\":{\"type\":\"object\"}}},\"required\":[\"file\",\"settings\"]}"},
    {"Identity",
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"scope\":{\"type\":\"string\"},"
     "\"expires_ms\":{\"type\":[\"integer\",\"null\"]}},\"required\":[\"name\",\"scope\",\"expires_ms\"]}"},
    {"Ticket",
     "{\"type\":\"object\",\"properties\":{\"ticket\":{\"type\":\"string\"}},\"required\":[\"ticket\"]}"},
    {"Version",
     "{\"type\":\"object\",\"properties\":{\"revision\":{\"type\":\"integer\"},\"bars\":{\"type\":\"intege"
     "r\"},\"last_ts\":{\"type\":\"integer\"}},\"required\":[\"revision\",\"bars\",\"last_ts\"]}"},
    {"Symbols",
     "{\"type\":\"object\",\"properties\":{\"symbols\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
     "\"properties\":{\"symbol\":{\"type\":\"string\"},\"freq\":{\"type\":\"string\"},\"bars\":{\"type\":"
     "\"integer\"},\"first\":{\"type\":\"string\"},\"last\":{\"type\":\"string\"},\"first_ts\":{\"type\":"
     "\"integer\"},\"last_ts\":{\"type\":\"integer\"},\"revision\":{\"type\":\"integer\"},\"provisional\":"
     "{\"type\":\"boolean\"}},\"required\":[\"symbol\",\"freq\",\"bars\",\"first\",\"last\",\"first_ts\","
     "\"last_ts\",\"revision\",\"provisional\"]}},\"next\":{\"type\":[\"string\",\"null\"]}},\"required\":"
     "[\"symbols\",\"next\"]}"},
    {"Imported",
     "{\"type\":\"object\",\"properties\":{\"rows\":{\"type\":\"integer\"},\"rejected\":{\"type\":\"intege"
     "r\"},\"inconsistent\":{\"type\":\"integer\"},\"duplicates\":{\"type\":\"integer\"},\"symbols\":{\"ty"
     "pe\":\"integer\"},\"appended\":{\"type\":\"integer\"},\"changed\":{\"type\":\"integer\"},\"inserted"
     "\":{\"type\":\"integer\"},\"unchanged\":{\"type\":\"integer\"},\"provisional\":{\"type\":\"integer\""
     "},\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"line\":{\"type\":"
     "\"integer\"},\"column\":{\"type\":\"integer\"},\"error\":{\"type\":\"string\"}},\"required\":[\"line"
     "\",\"column\",\"error\"]}}},\"required\":[\"rows\",\"rejected\",\"inconsistent\",\"duplicates\",\"sy"
     "mbols\",\"appended\",\"changed\",\"inserted\",\"unchanged\",\"provisional\",\"errors\"]}"},
    {"Bars",
     "{\"type\":\"object\",\"properties\":{\"symbol\":{\"type\":\"string\"},\"freq\":{\"type\":\"string\"}"
     ",\"adjust\":{\"type\":\"string\"},\"source_freq\":{\"type\":\"string\"},\"zone\":{\"type\":[\"string"
     "\",\"null\"]},\"provisional\":{\"type\":\"boolean\"},\"version\":{\"$ref\":\"#/components/schemas/Ve"
     "rsion\"},\"columns\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"ts\":{\"type\":\"array\""
     ",\"items\":{\"type\":\"integer\",\"description\":\"UTC milliseconds, the bar's start\"}},\"values\":"
     "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":[\"number\",\"null\"]}}}},\"re"
     "quired\":[\"symbol\",\"freq\",\"adjust\",\"source_freq\",\"zone\",\"provisional\",\"version\",\"colu"
     "mns\",\"ts\",\"values\"]}"},
    {"Registry",
     "{\"type\":\"object\",\"properties\":{\"indicators\":{\"type\":\"array\",\"items\":{\"type\":\"object"
     "\",\"properties\":{\"name\":{\"type\":\"string\"},\"group\":{\"type\":\"string\"},\"title\":{\"type"
     "\":\"string\"},\"inputs\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"params\":{\"type\":"
     "\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"kind\":{\""
     "type\":\"string\",\"enum\":[\"integer\",\"real\",\"ma_type\"]},\"min\":{\"type\":\"number\"},\"max\""
     ":{\"type\":\"number\"},\"default\":{\"type\":\"number\"}},\"required\":[\"name\",\"kind\",\"min\",\""
     "max\",\"default\"]}},\"outputs\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"integer\":{"
     "\"type\":\"boolean\"}},\"required\":[\"name\",\"group\",\"title\",\"inputs\",\"params\",\"outputs\","
     "\"integer\"]}},\"kernel_version\":{\"type\":\"integer\"},\"sets\":{\"type\":\"object\",\"additionalP"
     "roperties\":{\"type\":\"string\"}}},\"required\":[\"indicators\",\"kernel_version\",\"sets\"]}"},
    {"Series",
     "{\"type\":\"object\",\"properties\":{\"symbol\":{\"type\":\"string\"},\"freq\":{\"type\":\"string\"}"
     ",\"adjust\":{\"type\":\"string\"},\"spec\":{\"type\":\"string\"},\"version\":{\"$ref\":\"#/component"
     "s/schemas/Version\"},\"source\":{\"type\":\"string\",\"enum\":[\"memory\",\"redis\",\"store\",\"comp"
     "uted\"]},\"freshness\":{\"type\":\"string\",\"enum\":[\"fresh\",\"partial\",\"stale\"]},\"age_ms\":{"
     "\"type\":\"integer\"},\"columns\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"ts\":{\"typ"
     "e\":\"array\",\"items\":{\"type\":\"integer\",\"description\":\"UTC milliseconds, the bar's start\"}"
     "},\"values\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":[\"number\",\"nul"
     "l\"]}}}},\"required\":[\"symbol\",\"freq\",\"adjust\",\"spec\",\"version\",\"source\",\"freshness\","
     "\"age_ms\",\"columns\",\"ts\",\"values\"]}"},
    {"Results",
     "{\"type\":\"object\",\"properties\":{\"results\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
     "\"required\":[\"symbol\",\"status\"],\"properties\":{\"symbol\":{\"type\":[\"string\",\"null\"]},\"f"
     "req\":{\"type\":\"string\"},\"adjust\":{\"type\":\"string\"},\"spec\":{\"type\":\"string\"},\"status"
     "\":{\"type\":\"string\",\"description\":\"OK, or why not: the name of a status\"},\"error\":{\"type"
     "\":\"string\"},\"source\":{\"type\":\"string\"},\"freshness\":{\"type\":\"string\"},\"waited\":{\"ty"
     "pe\":\"boolean\"},\"version\":{\"$ref\":\"#/components/schemas/Version\"},\"columns\":{\"type\":\"ar"
     "ray\",\"items\":{\"type\":\"string\"}},\"ts\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\""
     "description\":\"UTC milliseconds, the bar's start\"}},\"values\":{\"type\":\"array\",\"items\":{\"ty"
     "pe\":\"array\",\"items\":{\"type\":[\"number\",\"null\"]}}}}}},\"failed\":{\"type\":\"integer\"}},\""
     "required\":[\"results\",\"failed\"]}"},
    {"Progress",
     "{\"type\":\"object\",\"properties\":{\"task\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"},"
     "\"state\":{\"type\":\"string\",\"enum\":[\"queued\",\"running\",\"stalled\",\"cancelling\",\"complet"
     "ed\",\"failed\",\"cancelled\"]},\"done\":{\"type\":\"integer\"},\"total\":{\"type\":\"integer\"},\"f"
     "ailed\":{\"type\":\"integer\"},\"skipped\":{\"type\":\"integer\"},\"from_cache\":{\"type\":\"integer"
     "\"},\"computed\":{\"type\":\"integer\"},\"waited\":{\"type\":\"integer\"},\"rate\":{\"type\":\"numbe"
     "r\"},\"eta_ms\":{\"type\":[\"integer\",\"null\"]},\"item\":{\"type\":[\"string\",\"null\"]},\"elapse"
     "d_ms\":{\"type\":\"integer\"},\"error\":{\"type\":\"string\"}},\"required\":[\"state\",\"done\",\"to"
     "tal\"]}"},
    {"Job",
     "{\"type\":\"object\",\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"string\"},\"topic\":{"
     "\"type\":\"string\"},\"position\":{\"type\":\"string\"},\"started_ms\":{\"type\":\"integer\"},\"upda"
     "ted_ms\":{\"type\":\"integer\"},\"progress\":{\"$ref\":\"#/components/schemas/Progress\"},\"request"
     "\":{\"type\":\"object\"}}}"},
    {"Jobs",
     "{\"type\":\"object\",\"properties\":{\"jobs\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components"
     "/schemas/Job\"}}},\"required\":[\"jobs\"]}"},
    {"JobErrors",
     "{\"type\":\"object\",\"properties\":{\"total\":{\"type\":\"integer\"},\"from\":{\"type\":\"integer\""
     "},\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"symbol\":{\"type\""
     ":\"string\"},\"spec\":{\"type\":[\"string\",\"null\"]},\"status\":{\"type\":\"string\",\"description"
     "\":\"OK, or why not: the name of a status\"},\"error\":{\"type\":\"string\"}},\"required\":[\"symbol"
     "\",\"spec\",\"status\",\"error\"]}}},\"required\":[\"total\",\"from\",\"errors\"]}"},
    {"Schedules",
     "{\"type\":\"object\",\"properties\":{\"schedules\":{\"type\":\"array\",\"items\":{\"type\":\"object"
     "\",\"properties\":{\"name\":{\"type\":\"string\"},\"schedule\":{\"type\":\"string\"},\"next_ms\":{\""
     "type\":[\"integer\",\"null\"]},\"last_ms\":{\"type\":[\"integer\",\"null\"]},\"last_job\":{\"type\":"
     "[\"string\",\"null\"]}},\"required\":[\"name\",\"schedule\",\"next_ms\",\"last_ms\",\"last_job\"]}}}"
     ",\"required\":[\"schedules\"]}"},
    {"Term",
     "{\"type\":\"object\",\"properties\":{\"term\":{\"type\":\"string\"},\"position\":{\"type\":[\"string"
     "\",\"null\"]},\"cancel\":{\"type\":\"boolean\",\"description\":\"Somebody has asked for the task to "
     "be cancelled\"}},\"required\":[\"term\",\"position\",\"cancel\"]}"},
    {"History",
     "{\"type\":\"object\",\"properties\":{\"complete\":{\"type\":\"boolean\",\"description\":\"Nothing be"
     "tween since and the first event is missing\"},\"events\":{\"type\":\"array\",\"items\":{\"type\":\"o"
     "bject\"}}},\"required\":[\"complete\",\"events\"]}"},
    {"CacheItems",
     "{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"items\":{\"type\":\"array\",\"items"
     "\":{\"type\":\"object\",\"required\":[\"type\",\"status\"],\"properties\":{\"type\":{\"type\":\"stri"
     "ng\"},\"symbol\":{\"type\":[\"string\",\"null\"]},\"timeframe\":{\"type\":[\"string\",\"null\"]},\"s"
     "tatus\":{\"type\":\"string\",\"description\":\"OK, or why not: the name of a status\"},\"source\":{"
     "\"type\":\"string\"},\"freshness\":{\"type\":\"string\"},\"age_ms\":{\"type\":\"integer\"},\"value\""
     ":{\"type\":\"string\"}}}},\"failed\":{\"type\":\"integer\"}}}"},
    {"Lease",
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"lease\":{\"type\":\"string\","
     "\"description\":\"To renew and release by, through any server on the prefix\"},\"token\":{\"type\":"
     "\"integer\",\"description\":\"Fencing token: higher than of any lease of the name before\"},\"ttl_ms"
     "\":{\"type\":\"integer\"}},\"required\":[\"name\",\"lease\",\"token\",\"ttl_ms\"]}"},
    {"Grant",
     "{\"type\":\"object\",\"properties\":{\"verdict\":{\"type\":\"string\",\"enum\":[\"GRANTED\"]},\"lease"
     "\":{\"type\":\"string\",\"description\":\"To hand in, renew and give back by, through any server on the prefix"
     "\"},\"token\":{\"type\":\"integer\",\"description\":\"Fencing token; 0: without a Redis\"},\"lease_ms\":{\"t"
     "ype\":\"integer\"},\"taken_over\":{\"type\":\"boolean\",\"description\":\"Whoever had it before did not hand i"
     "n\"}},\"required\":[\"verdict\",\"lease\",\"token\",\"lease_ms\",\"taken_over\"]}"},
    {"Locks",
     "{\"type\":\"object\",\"properties\":{\"locks\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\""
     "properties\":{\"name\":{\"type\":\"string\"},\"holder\":{\"type\":\"string\"},\"token\":{\"type\":\""
     "integer\"},\"left_ms\":{\"type\":\"integer\"},\"computation\":{\"type\":\"boolean\",\"description\":\"Of"
     " a value that is being made; name is its key\"}},\"required\":[\"name\",\"holder\",\"token\",\"left_ms\",\"co"
     "mputation\"]}}},\"required\":[\"locks\"]}"},
};
/* clang-format on */

const struct api_schema *api_schema_at(size_t i)
{
    return i < TL_COUNT(schemas) ? &schemas[i] : NULL;
}
