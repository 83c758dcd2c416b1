/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command language: every command once, as a row. vmqctl and the configuration file read it by
 * command_parse(), vmqd checks requests by command_check(), and help, completion and the man page are printed
 * from the same rows.
 */
#ifndef VMQ_CMD_COMMAND_H
#define VMQ_CMD_COMMAND_H

#include "util/refusal.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum argument_kind {
	ARGUMENT_TEXT,     /* any text without control characters */
	ARGUMENT_NUMBER,   /* 10, 10k, 2M: a JSON integer */
	ARGUMENT_MAC,      /* a JSON string, not checked further here */
	ARGUMENT_SWITCH,   /* on|off: a JSON boolean */
	ARGUMENT_CHOICE,   /* one of `choices`, separated by |: a JSON string */
	ARGUMENT_VLAN,     /* a JSON integer, "untagged" or "any" */
	ARGUMENT_QUEUE,    /* a JSON integer, "default" or "drop" */
	ARGUMENT_AUTO,     /* a number or `auto`: a JSON integer or "auto" */
	ARGUMENT_CPUS,     /* a list such as 0,2-5 (or `auto` where `choices` says so): a JSON string */
};

enum argument_flags {
	ARGUMENT_REQUIRED = 1 << 0,
	ARGUMENT_POSITIONAL = 1 << 1, /* given without its name, in the order of the rows */
	ARGUMENT_MANY = 1 << 2,       /* one or more: a JSON array (a single value is accepted too) */
	ARGUMENT_PAIR = 1 << 3,       /* name=value, as in `trace` */
	ARGUMENT_ONE_OF = 1 << 4,     /* exactly one of the arguments so marked is given; they stand side by side */
};

struct argument {
	const char *name;    /* the keyword, and the name in JSON */
	const char *metavar; /* as help shows it: N, LIST, MAC */
	enum argument_kind kind;
	unsigned flags;
	const char *choices; /* the words that it takes, separated by |; NULL: none */
	const char *help;
};

/* Who may: everyone who reaches the socket, owners, or only root and the group. */
enum command_access {
	ACCESS_SHOW,   /* it only shows */
	ACCESS_OWNER,  /* it changes something that has an owner, and the model asks whether that is the caller */
	ACCESS_CHANGE,
};

struct command {
	const char *method;  /* `queue.allocate`; its words with a space are the command */
	const char *help;    /* one phrase */
	enum command_access access;
	const struct argument *arguments;
	size_t argument_count;
};

extern const struct command commands[];
extern const size_t command_count;

/** @return NULL no such method. */
const struct command *command_by_method(const char *method);

/**
 * Read one command.
 *
 * @param words  its words; `queue allocate eth0 affinity 2`.
 * @param params  out: a new JSON object with the arguments under their names.
 * @return 0; -EINVAL with a sentence that names the word.
 */
int command_parse(int count, char *const words[], const struct command **command, json_t **params, struct refusal *why);

/**
 * Read one line: words, "quoted words", # comment. An empty line gives *command NULL and *params NULL.
 */
int command_parse_line(const char *line, const struct command **command, json_t **params, struct refusal *why);

/**
 * Check a request's params against the rows: known names, right types, nothing missing.
 * @return 0; -EINVAL with a sentence that names the argument.
 */
int command_check(const struct command *command, const json_t *params, struct refusal *why);

/** `queue allocate ADAPTER [name TEXT] …` on one line, in memory of the caller's to free. */
char *command_usage(const struct command *command);

/** The command that the first words name. @return how many words that took; 0 none. */
int command_find(int count, char *const words[], const struct command **command);

/** Call `each` for every word that may come after `words`: commands, keywords, choices. */
void command_candidates(int count, char *const words[], void (*each)(void *ctx, const char *word), void *ctx);

#endif
