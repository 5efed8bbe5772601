#!/bin/sh
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
# `vagrant validate` for each provider: without one it does not look at the provider's settings.
# Needs no network. VirtualBox is in no Debian archive; vagrant asks it for its version only.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
printf '#!/bin/sh\necho 7.0.20r163906\n' >"$scratch/VBoxManage"
chmod +x "$scratch/VBoxManage"

for provider in libvirt virtualbox; do
	echo "$provider:"
	VAGRANT_CWD=$here VAGRANT_HOME=$scratch/home VAGRANT_DOTFILE_PATH=$scratch/state \
		VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_DEFAULT_PROVIDER=$provider \
		PATH=$scratch:$PATH vagrant validate
done
