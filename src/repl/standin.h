/* repl/standin.h: see standin.c; goes with it. */
#ifndef SQ_REPL_STANDIN_H
#define SQ_REPL_STANDIN_H

#include "repl/node.h"

struct repl_node *repl_standin_new(void);
void repl_standin_free(struct repl_node *node);

#endif
