/* SPDX-License-Identifier: Apache-2.0 */
/* Character sets. Delimiters, digits, quotes and line ends are ASCII in UTF-8 and never trail bytes in GB18030, so a
 * file is split as bytes and only the few texts that are looked at (header, title) are converted. */
#ifndef TL_IMPORT_TEXT_H
#define TL_IMPORT_TEXT_H

#include "base/buf.h"

/* s as UTF-8 appended to out: as it is when it is UTF-8 and gbk_first is not set, else out of GB18030 (which contains
 * GBK and GB2312), else out of the other one. PARSE: neither. UNSUPPORTED: the system has no GB18030. */
TL_MUSTCHECK enum tl_status tl_text_utf8(struct tl_str s, bool gbk_first, struct tl_buf *out, struct tl_err *err);
/* What the first bytes of a file say it is when it is no text: "a gzip file" ...; NULL: nothing known. */
const char *tl_text_magic(struct tl_str head);
/* Bytes of a UTF-8 byte order mark at the beginning: 3 or 0. */
size_t tl_text_bom(struct tl_str head);

#endif
