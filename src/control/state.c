/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What survives: the model's lines in a file, replaced as a whole before a change is answered. The last line says
 * that the file is whole; without it the file is damaged.
 */
#include "control/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_HEAD "# vmqd keeps its state here; it is replaced at every change\n"
#define STATE_END "# whole\n"

static int
write_all(int handle, const char *text, size_t length)
{
	while (length) {
		ssize_t written = write(handle, text, length);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			text += written;
			length -= (size_t)written;
		}
	}
	return 0;
}

static int
folder_sync(const char *file)
{
	char *copy = strdup(file);
	int handle = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int error = handle < 0 || fsync(handle) ? -errno : 0;

	if (handle >= 0)
		close(handle);
	free(copy);
	return error;
}

/* A file is there as a whole or not at all: written beside, flushed to disk, renamed. */
int
state_write(const char *file, const char *head, const char *text, const char *end)
{
	char beside[4096];
	int handle, error;

	if (snprintf(beside, sizeof(beside), "%s.new", file) >= (int)sizeof(beside))
		return -ENAMETOOLONG;
	handle = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (handle < 0)
		return -errno;
	error = write_all(handle, head, strlen(head));
	if (!error)
		error = write_all(handle, text, strlen(text));
	if (!error)
		error = write_all(handle, end, strlen(end));
	if (!error && fsync(handle))
		error = -errno;
	close(handle);
	if (!error && rename(beside, file))
		error = -errno;
	if (!error)
		return folder_sync(file);
	unlink(beside);
	return error;
}

int
state_save(struct control *control, struct refusal *why)
{
	char *text;
	int error;

	if (!control->state)
		return 0;
	text = config_text(control->model);
	if (control->state_text && !strcmp(text, control->state_text)) {
		free(text);
		return 0;
	}
	error = state_write(control->state, STATE_HEAD, text, STATE_END);
	if (error) {
		free(text);
		return refuse(why, error, "the state cannot be saved: %s: %s", control->state, strerror(-error));
	}
	free(control->state_text);
	control->state_text = text;
	return 0;
}

/* Whether the last line is there. @return 0; -EBADMSG with the number of the line that should be it. */
static int
state_check_whole(const char *file, struct refusal *why)
{
	FILE *stream = fopen(file, "re");
	char *line = NULL;
	size_t size = 0;
	bool whole = false;
	int number = 0;

	if (!stream)
		return refuse(why, -errno, "%s: %s", file, strerror(errno));
	for (; getline(&line, &size, stream) > 0; number++)
		whole = !strcmp(line, STATE_END);
	free(line);
	fclose(stream);
	return whole ? 0 : refuse(why, -EBADMSG, "%s:%d: the file ends before its end", file, number);
}

int
state_load(struct control *control, const char *file, struct refusal *why)
{
	int error = state_check_whole(file, why);

	return error ? error : config_load(control, file, why);
}

int
state_put_aside(const char *file, char *aside, size_t size)
{
	snprintf(aside, size, "%s.damaged", file);
	return rename(file, aside) ? -errno : 0;
}
