exports.handler = async () => {
  return (
