/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that attacks vmqd from the other end of a vhost-user socket.
 *
 * hostile --list           every attack: its name, and what has to become of it
 * hostile SOCKET ATTACK    says `ready` when the attack is under way, goes on until standard input ends, and then
 *                          says `open` or `closed`: whether vmqd still has the connection
 */
#include "attack.h"
#include "cue.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

static const char *const outcomes[] = {
	[HARMLESS] = "harmless",
	[FAULT] = "fault",
	[CLOSED] = "closed",
	[DETACHED] = "detached",
};

static void
list(const struct attack *attacks)
{
	for (; attacks->name; attacks++)
		printf("%s %s\n", attacks->name, outcomes[attacks->outcome]);
}

static const struct attack *
find(const struct attack *attacks, const char *name)
{
	for (; attacks->name; attacks++)
		if (!strcmp(attacks->name, name))
			return attacks;
	return NULL;
}

static bool
is_closed(int handle)
{
	struct pollfd end = { .fd = handle };

	return poll(&end, 1, 0) > 0 && end.revents & (POLLHUP | POLLERR);
}

static int
run(const char *path, const char *name)
{
	const struct attack *const tables[] = { ring_attacks(), talk_attacks, memory_attacks, left_attacks, runs };
	const struct attack *attack = NULL;
	static struct guest guest; /* an attack may leave threads behind that use it */

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && !attack; i++)
		attack = find(tables[i], name);
	if (!attack) {
		fprintf(stderr, "hostile: no attack is called %s\n", name);
		return 2;
	}
	guest_create(&guest, path, ENTRIES);
	guest_connect(&guest);
	if (attack->run)
		attack->run(&guest);
	else
		ring_attack_run(&guest, name);
	puts(is_closed(guest.socket) ? "closed" : "open");
	return 0;
}

int
main(int count, char **words)
{
	if (count == 2 && !strcmp(words[1], "--list")) {
		list(ring_attacks());
		list(talk_attacks);
		list(memory_attacks);
		list(left_attacks);
		return 0;
	}
	if (count == 3)
		return run(words[1], words[2]);
	fprintf(stderr, "usage: hostile --list | hostile SOCKET ATTACK\n");
	return 2;
}
