# SPDX-License-Identifier: Apache-2.0
defmodule Shelf.Error do
  @moduledoc "The other node was not asked, or has not answered."
  defexception [:reason]

  @impl true
  def message(%{reason: reason}), do: "no answer from the shelf: #{inspect(reason)}"
end
