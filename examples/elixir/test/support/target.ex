# SPDX-License-Identifier: Apache-2.0
defmodule Shelf.TestTarget do
  @moduledoc "What the tests run on the other node. In a module that both nodes have."

  defmodule Point do
    @moduledoc false
    defstruct [:x, :y]
  end

  def adder(n), do: fn m -> m + n end

  def thrower(value), do: fn -> throw(value) end

  def raise_it(exception), do: raise(exception)

  @doc "A process that keeps, in order, what note/2 tells it."
  def start_notes(name) do
    caller = self()

    spawn(fn ->
      Process.register(self(), name)
      send(caller, :registered)
      keep_notes([])
    end)

    receive do: (:registered -> :ok)
  end

  def note(name, what), do: send(name, {:note, what})

  def notes(name) do
    ref = make_ref()
    send(name, {:notes, self(), ref})
    receive do: ({^ref, notes} -> notes)
  end

  defp keep_notes(notes) do
    receive do
      {:note, what} ->
        keep_notes([what | notes])

      {:notes, from, ref} ->
        send(from, {ref, Enum.reverse(notes)})
        keep_notes(notes)
    end
  end
end
