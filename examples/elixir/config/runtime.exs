# SPDX-License-Identifier: Apache-2.0
import Config

# What differs from node to node is read where the node starts. SHELF_NODES is a list such as
# a@10.0.0.1:5369,b@10.0.0.2:5369
nodes =
  for entry <- String.split(System.get_env("SHELF_NODES", ""), ",", trim: true) do
    [node, port] = String.split(entry, ":")
    {String.to_atom(node), String.to_integer(port)}
  end

config :shelf, nodes: Enum.map(nodes, fn {node, _port} -> node end)

config :gen_rpc,
  client_config_per_node: {:internal, Map.new(nodes, fn {node, port} -> {node, {:tcp, port}} end)}

if port = System.get_env("SHELF_PORT") do
  config :gen_rpc, tcp_server_port: String.to_integer(port)
end
