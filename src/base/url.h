/* base/url.h: URLs as they may be shown: without the passwords in them. Any thread. */
#ifndef SQ_BASE_URL_H
#define SQ_BASE_URL_H

struct sq_buf;

/* Appends `url` with `***` in the place of a password before the '@' and of the value of each `password=` behind the '?'. What is no URL goes
 * through the same way. */
void sq_url_put_masked(struct sq_buf *out, const char *url);

#endif
