# SPDX-License-Identifier: Apache-2.0
# Nodes are addressed by name, so the one that runs the tests needs one. It does not listen for
# distribution, and asks no epmd.
{:ok, _} = :net_kernel.start(:"exunit@127.0.0.1", %{name_domain: :longnames, dist_listen: false})

# What is logged is shown with a test that fails.
ExUnit.start(capture_log: true)
