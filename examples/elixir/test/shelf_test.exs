# SPDX-License-Identifier: Apache-2.0
defmodule ShelfTest do
  @moduledoc "The example application, spread over this node and another one."
  use ExUnit.Case

  alias Shelf.TestNode

  setup do
    other = TestNode.start()
    TestNode.way_to(other)
    Application.put_env(:shelf, :nodes, [node(), other.node])

    on_exit(fn ->
      TestNode.stop(other)
      Application.put_env(:shelf, :nodes, [])
    end)

    {:ok, other: other, there: key_on(other.node)}
  end

  test "keys of every kind are spread over the nodes", %{other: other} do
    keys = Enum.flat_map(1..50, &[&1, "#{&1}", %{id: &1}, {:a, &1}])
    for key <- keys, do: assert(Shelf.put(key, key) == :ok)
    for key <- keys, do: assert(Shelf.get(key) == {:ok, key})
    {sizes, []} = Shelf.sizes()
    assert sizes[node()] + sizes[other.node] == length(keys)
    assert sizes[other.node] > 0
    assert Shelf.get("no such key") == :missing
  after
    :ets.delete_all_objects(Shelf.Server)
  end

  test "what is put later arrives", %{there: key} do
    assert Shelf.put_later(key, 1) == :ok
    TestNode.wait(fn -> Shelf.get(key) == {:ok, 1} end)
  end

  test "what is prepended later is in order", %{there: key} do
    for i <- 1..100, do: :ok = Shelf.prepend_later(key, i)
    TestNode.wait(fn -> Shelf.get(key) == {:ok, Enum.to_list(100..1//-1)} end)
  end

  test "a function can be sent, and its exceptions come back", %{other: other, there: key} do
    :ok = Shelf.put(key, "a")
    assert Shelf.update!(key, &String.upcase/1) == "A"
    assert Shelf.get(key) == {:ok, "A"}
    assert_raise ArithmeticError, fn -> Shelf.update!(key, Shelf.TestTarget.adder(1)) end
    missing = key_on(other.node, 1001)
    assert_raise KeyError, fn -> Shelf.update!(missing, &String.upcase/1) end
  end

  test "a node that is gone is an error, and a bad one", %{other: other, there: key} do
    :ok = Shelf.put(key, 1)
    TestNode.kill(other)
    TestNode.wait(fn -> Shelf.get(key) == {:error, :unreachable} end)
    assert Shelf.put(key, 1) == {:error, :unreachable}
    assert Shelf.put_later(key, 1) == {:error, :unreachable}
    assert_raise Shelf.Error, ~r/noconnection/, fn -> Shelf.update!(key, &String.upcase/1) end
    assert Shelf.sizes() == {%{node() => 0}, [other.node]}
  end

  defp key_on(node, from \\ 1) do
    Enum.find(from..(from + 1000), &match?({^node, _}, Shelf.dest(&1)))
  end
end
